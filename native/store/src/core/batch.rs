//! One write: records one behind the other, from a page boundary to a page boundary.

use std::io::IoSlice;

use bytes::Bytes;

use super::plan::{Planned, Tail};
use super::stream::mask;
use crate::format::align;
use crate::format::checksum::Place;
use crate::format::record::Header;
use crate::index::entry::Loc;
use crate::limits::{PAGE_BYTES, RECORD_ALIGN_BYTES};

/// Data up to this size is copied behind its header; longer data is written from where it is.
const COPY_BYTES: usize = 8 * 1024;

pub struct Batch {
    place: Place,
    /// Offset in the segment.
    start: u64,
    parts: Vec<Part>,
    pub len: u64,
    pub records: Vec<(Header, Vec<u8>, Loc)>,
}

enum Part {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Batch {
    pub fn new(place: Place, start: u64) -> Self {
        Self {
            place,
            start,
            parts: Vec::new(),
            len: 0,
            records: Vec::new(),
        }
    }

    pub fn push(&mut self, planned: Planned) {
        let Planned { header, tail, data } = planned;
        let tail = match tail {
            Tail::None => Vec::new(),
            Tail::Crcs(crcs) => mask(&self.place, &header.key, header.block, &crcs),
            Tail::Bytes(bytes) => bytes,
        };
        let offset = self.start + self.len;
        let len = header.record_len();
        let place = self.place;
        let buffer = self.buffer();
        let begin = buffer.len();
        header.encode(&place, offset, &tail, buffer);
        buffer.resize(begin + header.data_offset() as usize, 0);
        if data.len() <= COPY_BYTES {
            buffer.extend_from_slice(&data);
            buffer.resize(begin + len as usize, 0);
        } else {
            let padding = align(data.len() as u64, RECORD_ALIGN_BYTES) as usize - data.len();
            self.parts.push(Part::Shared(data));
            if padding > 0 {
                self.parts.push(Part::Copied(vec![0; padding]));
            }
        }
        self.len += len;
        self.records.push((
            header,
            tail,
            Loc {
                epoch: self.place.epoch,
                offset: offset as u32,
                len: len as u32,
            },
        ));
    }

    /// Fills the last page.
    pub fn finish(&mut self) {
        let padding = align(self.len, PAGE_BYTES) - self.len;
        let buffer = self.buffer();
        buffer.resize(buffer.len() + padding as usize, 0);
        self.len += padding;
    }

    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        let bytes = self.parts.iter().map(|part| match part {
            Part::Copied(bytes) => IoSlice::new(bytes),
            Part::Shared(bytes) => IoSlice::new(bytes),
        });
        bytes.filter(|slice| !slice.is_empty()).collect()
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        if !matches!(self.parts.last(), Some(Part::Copied(_))) {
            self.parts.push(Part::Copied(Vec::new()));
        }
        match self.parts.last_mut() {
            Some(Part::Copied(buffer)) => buffer,
            _ => unreachable!("just pushed"),
        }
    }
}
