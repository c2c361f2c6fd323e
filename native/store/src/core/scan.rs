//! Walking through the records of a shared segment.

use std::io;
use std::sync::Arc;

use crate::disk::File;
use crate::format::checksum::Place;
use crate::format::record::{HEADER_BYTES, Header};
use crate::index::entry::Loc;
use crate::limits::RECORD_ALIGN_BYTES;

/// Large enough that a stretch without records passes quickly, small enough that data is mostly skipped.
const WINDOW_BYTES: usize = 64 * 1024;

pub struct Scan {
    file: Arc<dyn File>,
    place: Place,
    pub position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    window_len: usize,
}

impl Scan {
    pub fn new(file: Arc<dyn File>, place: Place, from: u64) -> io::Result<Self> {
        let end = file.len()?;
        Ok(Self {
            file,
            place,
            position: from,
            end,
            window: vec![0; WINDOW_BYTES],
            window_at: 0,
            window_len: 0,
        })
    }

    /// The next valid record. What is not one is passed over in steps of the records' alignment: a damaged header hides only
    /// its own record.
    pub fn next(&mut self) -> io::Result<Option<(Header, Vec<u8>, Loc)>> {
        while self.position + HEADER_BYTES as u64 <= self.end {
            let (place, at, end) = (self.place, self.position, self.end);
            let Some(tail_len) = Header::peek(self.look(HEADER_BYTES)?) else {
                self.position += RECORD_ALIGN_BYTES;
                continue;
            };
            if let Some((header, tail)) =
                Header::decode(&place, at, self.look(HEADER_BYTES + tail_len)?)
                && at + header.record_len() <= end
            {
                let (tail, len) = (tail.to_vec(), header.record_len());
                self.position += len;
                return Ok(Some((
                    header,
                    tail,
                    Loc {
                        epoch: place.epoch,
                        offset: at as u32,
                        len: len as u32,
                    },
                )));
            }
            self.position += RECORD_ALIGN_BYTES;
        }
        Ok(None)
    }

    /// `len` bytes from the position, or fewer at the end of the file.
    fn look(&mut self, len: usize) -> io::Result<&[u8]> {
        let inside = self.position >= self.window_at
            && self.position + len as u64 <= self.window_at + self.window_len as u64;
        if !inside {
            self.window_len = self.file.read_at(&mut self.window, self.position)?;
            self.window_at = self.position;
        }
        let from = (self.position - self.window_at) as usize;
        Ok(&self.window[from..(from + len).min(self.window_len)])
    }
}
