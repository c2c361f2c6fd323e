//! 128-bit ids (blobs, drives, deployments) in their two forms.

use crate::error::{Error, Result};

/// 16 bytes; as text 32 lower-case hex digits.
pub type Id128 = [u8; 16];

/// Reads 32 hex digits; `what` names the id in the error.
pub fn parse(what: &str, text: &str) -> Result<Id128> {
    let mut id = [0; 16];
    decode_hex(text, &mut id)
        .then_some(id)
        .ok_or_else(|| Error::internal(format!("{what} is not 32 hex digits: {text:?}")))
}

/// Fills `out` from exactly twice as many hex digits; false if `text` is anything else.
pub fn decode_hex(text: &str, out: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return false;
    }
    let digit = |byte: u8| (byte as char).to_digit(16);
    for (pair, out) in digits.chunks_exact(2).zip(out.iter_mut()) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *out = (high << 4 | low) as u8,
            _ => return false,
        }
    }
    true
}

/// Lower-case hex of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[(byte >> 4) as usize] as char);
        text.push(DIGITS[(byte & 15) as usize] as char);
    }
    text
}

/// Base64 with padding (RFC 4648 §4), as S3 writes checksums.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | u32::from(chunk.get(1).copied().unwrap_or(0)) << 8
            | u32::from(chunk.get(2).copied().unwrap_or(0));
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(ALPHABET[(word >> (18 - 6 * place) & 63) as usize] as char);
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_vectors_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn ids_read_back_and_bad_ones_are_refused() {
        let id = parse("blob", "000102030405060708090a0b0c0d0eff").unwrap();
        assert_eq!(hex(&id), "000102030405060708090a0b0c0d0eff");
        assert!(parse("blob", "00").is_err());
        assert!(parse("blob", &"g".repeat(32)).is_err());
    }
}
