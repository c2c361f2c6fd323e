//! The line before each chunk: `HEX-SIZE[;chunk-signature=64-HEX-DIGITS]\r\n`.

use crate::signature::{Signature, parse_signature};
use crate::{BodyError, CHUNK_HEADER_MAX_BYTES, CHUNK_MAX_BYTES};

const SIGNATURE_EXTENSION: &[u8] = b"chunk-signature=";

/// Gathers one line, which may arrive in pieces.
#[derive(Clone)]
pub(crate) struct HeaderLine {
    bytes: [u8; CHUNK_HEADER_MAX_BYTES],
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    pub(crate) payload_bytes: u64,
    pub(crate) signature: Option<Signature>,
}

impl HeaderLine {
    pub(crate) fn new() -> HeaderLine {
        HeaderLine {
            bytes: [0; CHUNK_HEADER_MAX_BYTES],
            length: 0,
        }
    }

    /// Takes bytes off the front of `input` up to the end of the line; the header, once the line is whole.
    pub(crate) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<ChunkHeader>, BodyError> {
        let room = CHUNK_HEADER_MAX_BYTES - self.length;
        let window = &input[..input.len().min(room)];
        let line_end = window.iter().position(|&byte| byte == b'\n');
        let taken = line_end.map_or(window.len(), |at| at + 1);
        self.bytes[self.length..self.length + taken].copy_from_slice(&window[..taken]);
        self.length += taken;
        *input = &input[taken..];
        if line_end.is_none() {
            let too_long = self.length == CHUNK_HEADER_MAX_BYTES;
            return if too_long {
                Err(BodyError::MalformedChunk)
            } else {
                Ok(None)
            };
        }
        let header = parse(&self.bytes[..self.length])?;
        self.length = 0;
        Ok(Some(header))
    }
}

/// Extensions other than the signature are ignored, as RFC 9112 (section 7.1.1) wants it for the coding of HTTP.
fn parse(line: &[u8]) -> Result<ChunkHeader, BodyError> {
    let line = line
        .strip_suffix(b"\r\n")
        .ok_or(BodyError::MalformedChunk)?;
    let mut parts = line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let payload_bytes = parse_size(parts.next().unwrap_or_default())?;
    let mut signature = None;
    for digits in parts.filter_map(|extension| extension.strip_prefix(SIGNATURE_EXTENSION)) {
        let parsed = parse_signature(digits).ok_or(BodyError::MalformedChunk)?;
        if signature.replace(parsed).is_some() {
            return Err(BodyError::MalformedChunk);
        }
    }
    Ok(ChunkHeader {
        payload_bytes,
        signature,
    })
}

fn parse_size(digits: &[u8]) -> Result<u64, BodyError> {
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BodyError::MalformedChunk);
    }
    let digits = str::from_utf8(digits).map_err(|_| BodyError::MalformedChunk)?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| BodyError::MalformedChunk)?;
    if size <= CHUNK_MAX_BYTES {
        Ok(size)
    } else {
        Err(BodyError::MalformedChunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(line: &[u8]) -> Result<u64, BodyError> {
        parse(line).map(|header| header.payload_bytes)
    }

    #[test]
    fn sizes() {
        assert_eq!(size(b"0\r\n"), Ok(0));
        assert_eq!(size(b"00010000\r\n"), Ok(65536));
        assert_eq!(size(b"aB;x=y\r\n"), Ok(171));
        assert_eq!(size(b"140000000\r\n"), Ok(CHUNK_MAX_BYTES));
        let bad: [&[u8]; 8] = [
            b"\r\n",
            b"10\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1 1\r\n",
            b"140000001\r\n",
            b"ffffffffffffffff\r\n",
            b"00000000000000001\r\n",
        ];
        for line in bad {
            assert_eq!(
                size(line),
                Err(BodyError::MalformedChunk),
                "{:?}",
                line.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn signatures() {
        let line = |digits: &str| format!("1;chunk-signature={digits}\r\n");
        assert_eq!(
            parse(line(&"0a".repeat(32)).as_bytes()).unwrap().signature,
            Some([10; 32])
        );
        for digits in ["", "0a", &"0a".repeat(33), &"0g".repeat(32)] {
            assert_eq!(
                size(line(digits).as_bytes()),
                Err(BodyError::MalformedChunk)
            );
        }
        let twice = line(&format!("{0};chunk-signature={0}", "0a".repeat(32)));
        assert_eq!(size(twice.as_bytes()), Err(BodyError::MalformedChunk));
    }

    #[test]
    fn the_line_is_bounded() {
        let mut fits = vec![b' '; CHUNK_HEADER_MAX_BYTES];
        fits[0] = b'5';
        fits[CHUNK_HEADER_MAX_BYTES - 2..].copy_from_slice(b"\r\n");
        assert_eq!(
            HeaderLine::new()
                .feed(&mut &fits[..])
                .unwrap()
                .unwrap()
                .payload_bytes,
            5
        );
        fits.insert(1, b' ');
        assert_eq!(
            HeaderLine::new().feed(&mut &fits[..]),
            Err(BodyError::MalformedChunk)
        );
    }
}
