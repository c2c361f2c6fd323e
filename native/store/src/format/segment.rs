//! The header of a segment file: one page, and for shared segments a second copy of it behind the first.

use super::checksum::{Place, header_checksum};
use super::{FORMAT_VERSION, Fields};
use crate::limits::PAGE_BYTES;

const MAGIC: u32 = 0x5356_4e41; // "ANVS"
const HEADER_BYTES: usize = 72;

/// Where the records of a shared segment begin.
pub const SHARED_START: u64 = 2 * PAGE_BYTES;
/// Where the records of a dedicated segment begin.
pub const DEDICATED_START: u64 = PAGE_BYTES;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SegmentKind {
    Shared = 1,
    Dedicated = 2,
    /// A shared segment whose records count no more.
    Free = 3,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    pub kind: SegmentKind,
    pub place: Place,
    /// Length of the file (shared), 0 (dedicated).
    pub size: u64,
    pub created_ms: u64,
}

impl SegmentHeader {
    /// One page.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PAGE_BYTES as usize);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.kind as u64).to_le_bytes());
        out.extend_from_slice(&self.place.drive);
        for word in [
            self.place.epoch,
            self.place.salt,
            self.size,
            self.created_ms,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let unseeded = Place {
            drive: self.place.drive,
            epoch: 0,
            salt: 0,
        };
        let checksum = header_checksum(&unseeded, 0, &[&out]);
        out.extend_from_slice(&checksum.to_le_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out.resize(PAGE_BYTES as usize, 0);
        out
    }

    /// `None` unless this is a valid header of this drive.
    pub fn decode(drive: &[u8; 16], bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let mut fields = Fields(bytes);
        if fields.u32() != MAGIC || fields.u32() != FORMAT_VERSION {
            return None;
        }
        let kind = match fields.u64() {
            1 => SegmentKind::Shared,
            2 => SegmentKind::Dedicated,
            3 => SegmentKind::Free,
            _ => return None,
        };
        let place = Place {
            drive: fields.bytes(),
            epoch: fields.u64(),
            salt: fields.u64(),
        };
        let header = Self {
            kind,
            place,
            size: fields.u64(),
            created_ms: fields.u64(),
        };
        let unseeded = Place {
            drive: place.drive,
            epoch: 0,
            salt: 0,
        };
        let valid = fields.u64() == header_checksum(&unseeded, 0, &[&bytes[..HEADER_BYTES - 8]]);
        (valid && place.drive == *drive).then_some(header)
    }
}
