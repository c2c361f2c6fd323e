//! The bytes on the drive. The whole format is described in the documentation of the crate.

pub mod checksum;
pub mod identity;
pub mod record;
pub mod segment;

/// Version of the format on the drive.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) fn align(value: u64, to: u64) -> u64 {
    value.div_ceil(to) * to
}

/// Cursor over a fixed little-endian layout.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_at(N);
        self.0 = rest;
        head.try_into().expect("split at N")
    }
    pub fn u8(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}
