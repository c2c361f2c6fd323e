//! The trailer section after the final chunk: `name:value` lines, and for signed ones a last line with their signature.
//!
//! Clients differ in line ends. SDKs write `name:value\r\n` lines and one empty line; AWS's documentation writes
//! `name:value\n\r\n` before the signature, and some clients put an empty line before the trailers. So lines may end in
//! `\r\n` or `\n`, an empty line may stand before the signature and before the first trailer, and any may follow the end.

use std::mem;

use crate::signature::{SignatureChain, parse_signature};
use crate::{BodyError, TRAILER_SECTION_MAX_BYTES};

const SIGNATURE_NAME: &str = "x-amz-trailer-signature";

pub(crate) struct TrailerSection {
    /// Lower-case names that `x-amz-trailer` announced; empty: whatever comes.
    announced: Vec<String>,
    line: Vec<u8>,
    /// Of the whole section so far.
    bytes: usize,
    trailers: Vec<(String, String)>,
    /// `name:value\n` of each trailer, in the order sent: what the signature covers.
    canonical: Vec<u8>,
    signature_seen: bool,
    /// An empty line came after the last line that was not.
    ended: bool,
}

impl TrailerSection {
    pub(crate) fn new(announced: Vec<String>) -> TrailerSection {
        TrailerSection {
            announced,
            line: Vec::new(),
            bytes: 0,
            trailers: Vec::new(),
            canonical: Vec::new(),
            signature_seen: false,
            ended: false,
        }
    }

    /// Takes all of `input`. `chain`: the trailers must be signed.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        chain: &mut Option<SignatureChain>,
    ) -> Result<(), BodyError> {
        self.bytes = self.bytes.saturating_add(input.len());
        if self.bytes > TRAILER_SECTION_MAX_BYTES {
            return Err(BodyError::MalformedTrailer);
        }
        for piece in input.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = mem::take(&mut self.line);
                self.take_line(line.trim_ascii_end(), chain)?;
            }
        }
        Ok(())
    }

    /// The trailers, with lower-case names, in the order sent.
    pub(crate) fn finish(&mut self, signed: bool) -> Result<Vec<(String, String)>, BodyError> {
        if !self.line.is_empty() || !self.ended {
            return Err(BodyError::Incomplete);
        }
        let missing = self
            .announced
            .iter()
            .any(|name| !self.trailers.iter().any(|(sent, _)| sent == name));
        if missing || signed && !self.signature_seen {
            return Err(BodyError::MalformedTrailer);
        }
        Ok(mem::take(&mut self.trailers))
    }

    fn take_line(
        &mut self,
        line: &[u8],
        chain: &mut Option<SignatureChain>,
    ) -> Result<(), BodyError> {
        if line.is_empty() {
            self.ended = true;
            return Ok(());
        }
        let (name, value) = parse_line(line).ok_or(BodyError::MalformedTrailer)?;
        if let Some(chain) = chain
            && name == SIGNATURE_NAME
        {
            let signature = parse_signature(value.as_bytes()).ok_or(BodyError::MalformedTrailer)?;
            if mem::replace(&mut self.signature_seen, true) {
                return Err(BodyError::MalformedTrailer);
            }
            self.ended = false;
            return if chain.trailers(&self.canonical, &signature) {
                Ok(())
            } else {
                Err(BodyError::SignatureMismatch)
            };
        }
        let after_the_end = self.signature_seen || self.ended && !self.trailers.is_empty();
        let unannounced = !self.announced.is_empty() && !self.announced.contains(&name);
        let repeated = self.trailers.iter().any(|(sent, _)| *sent == name);
        if after_the_end || unannounced || repeated {
            return Err(BodyError::MalformedTrailer);
        }
        self.ended = false;
        self.canonical
            .extend_from_slice(format!("{name}:{value}\n").as_bytes());
        self.trailers.push((name, value));
        Ok(())
    }
}

/// `name:value`; the name is a token (RFC 9110, section 5.6.2), the value visible ASCII, spaces and tabs around it removed.
fn parse_line(line: &[u8]) -> Option<(String, String)> {
    let line = str::from_utf8(line).ok()?;
    let (name, value) = line.split_once(':')?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    let value = value.trim_matches([' ', '\t']);
    let is_visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    value
        .bytes()
        .all(is_visible)
        .then(|| (name.to_ascii_lowercase(), value.to_owned()))
}
