//! The chain of signatures: each chunk signs its payload and the signature before it, the first one that of the request's
//! head (AWS Signature Version 4, streaming).

use std::fmt;

use anvil_codec::hash::{self, Algorithm, Digest};

pub(crate) type Signature = [u8; 32];

const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What the chunks of one body are signed with.
#[derive(Clone)]
pub struct ChunkSigning {
    /// The key that AWS Signature Version 4 derives from the secret key and the scope.
    pub signing_key: Vec<u8>,
    /// The signature of the request's head.
    pub seed_signature: [u8; 32],
    /// `x-amz-date`: `YYYYMMDDTHHMMSSZ`.
    pub amz_date: String,
    /// `date/region/service/aws4_request`.
    pub scope: String,
}

impl ChunkSigning {
    /// `seed_signature` from the 64 hexadecimal digits of an Authorization header.
    pub fn parse_seed(digits: &str) -> Option<[u8; 32]> {
        parse_signature(digits.as_bytes())
    }
}

impl fmt::Debug for ChunkSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigning")
            .field("amz_date", &self.amz_date)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The chain at one point: `previous` is the signature that the next one covers.
pub(crate) struct SignatureChain {
    signing: ChunkSigning,
    previous: Signature,
}

impl SignatureChain {
    pub(crate) fn new(signing: ChunkSigning) -> SignatureChain {
        SignatureChain {
            previous: signing.seed_signature,
            signing,
        }
    }

    pub(crate) fn signing(&self) -> &ChunkSigning {
        &self.signing
    }

    /// Takes the next chunk's signature as it stands: [`matches_chunk`] tells later whether it is right. The one before it.
    pub(crate) fn go_on_from(&mut self, signature: Signature) -> Signature {
        std::mem::replace(&mut self.previous, signature)
    }

    /// Whether `signature` is that of the next chunk, whose payload has this SHA-256. The chain then goes on from it.
    pub(crate) fn chunk(&mut self, payload_sha256: &Digest, signature: &Signature) -> bool {
        let matches = matches_chunk(&self.signing, &self.previous, payload_sha256, signature);
        self.previous = *signature;
        matches
    }

    /// Whether `signature` is that of the trailers, given as `name:value\n` each.
    pub(crate) fn trailers(&mut self, lines: &[u8], signature: &Signature) -> bool {
        matches(
            &self.signing,
            "AWS4-HMAC-SHA256-TRAILER",
            &self.previous,
            &hash::digest(Algorithm::Sha256, lines).to_hex(),
            signature,
        )
    }
}

/// Whether a chunk whose payload has this SHA-256, behind one that was signed with `previous`, has this signature.
pub(crate) fn matches_chunk(
    signing: &ChunkSigning,
    previous: &Signature,
    payload_sha256: &Digest,
    signature: &Signature,
) -> bool {
    let last_lines = format!("{SHA256_OF_NOTHING}\n{payload_sha256}");
    matches(
        signing,
        "AWS4-HMAC-SHA256-PAYLOAD",
        previous,
        &last_lines,
        signature,
    )
}

fn matches(
    signing: &ChunkSigning,
    kind: &str,
    previous: &Signature,
    last_lines: &str,
    signature: &Signature,
) -> bool {
    let ChunkSigning {
        signing_key,
        amz_date,
        scope,
        ..
    } = signing;
    let string_to_sign = format!(
        "{kind}\n{amz_date}\n{scope}\n{}\n{last_lines}",
        hex(previous)
    );
    let expected = hash::hmac_sha256(signing_key, string_to_sign.as_bytes());
    equal_in_constant_time(&expected, signature)
}

/// 64 hexadecimal digits.
pub(crate) fn parse_signature(digits: &[u8]) -> Option<Signature> {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let mut signature = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != signature.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in signature.iter_mut().zip(pairs) {
        *byte = (nibble(*high)? << 4 | nibble(*low)?) as u8;
    }
    Some(signature)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn equal_in_constant_time(a: &Signature, b: &Signature) -> bool {
    std::hint::black_box(
        a.iter()
            .zip(b)
            .fold(0, |difference, (a, b)| difference | (a ^ b)),
    ) == 0
}
