use std::fmt::{self, Write as _};
use std::ops::Deref;

const LONGEST_BYTES: usize = 32;

/// The result of a hash: up to 32 bytes, held in place. Dereferences to them; displays as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    bytes: [u8; LONGEST_BYTES],
    length: u8,
}

impl Digest {
    pub(super) fn new(digest: &[u8]) -> Digest {
        let mut bytes = [0; LONGEST_BYTES];
        bytes[..digest.len()].copy_from_slice(digest);
        Digest {
            bytes,
            length: digest.len() as u8,
        }
    }

    pub fn to_hex(&self) -> String {
        self.to_string()
    }
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for &byte in self.iter() {
            f.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
            f.write_char(char::from(DIGITS[usize::from(byte & 15)]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
