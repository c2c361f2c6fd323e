//! The frames of the protocol: bytes to values and back, without I/O. What they mean is told in the crate's documentation.
//!
//! A frame is a length (u32, of what follows) and a body: its kind (u8), then its fields. Integers are little-endian, texts
//! and lists carry their length or count (u32) in front. Bulk data is not part of a frame; it follows it, as many bytes as
//! the frame says.

use std::fmt;

use anvil_codec::UNIT_BYTES;
use anvil_engine::id::Id128;
use anvil_engine::target::{ShardError, ShardKey};
use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::{BATCH, DATA_BYTES, FRAME_BYTES, TEXT_BYTES};
use crate::proof::Proof;

/// Spoken by this build, and the oldest that it still understands.
pub(crate) const VERSION: u16 = 1;
pub(crate) const OLDEST_VERSION: u16 = 1;

/// Why the listening side refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Version = 1,
    Deployment = 2,
    Region = 3,
    Secret = 4,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Version => "it speaks another version of the shard plane",
            Refusal::Deployment => "it belongs to another deployment",
            Refusal::Region => "it belongs to another region",
            Refusal::Secret => "wrong cluster secret",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    // connection
    Hello {
        version: u16,
        oldest: u16,
        deployment: String,
        region: String,
        process: String,
        proof: Proof,
    },
    Welcome {
        /// The one that both speak from now on.
        version: u16,
        process: String,
        proof: Proof,
    },
    Refused(Refusal),

    // requests
    Begin {
        drive: Id128,
        key: ShardKey,
        generation: u64,
        blocks: Option<u32>,
        block_bytes: u32,
    },
    /// A block of the shard that was begun; its data follows.
    Block(Sums),
    Seal,
    /// Announces shards of one block for this drive, each in a [`Frame::Put`].
    Puts {
        drive: Id128,
    },
    /// Its data follows.
    Put {
        number: u64,
        key: ShardKey,
        generation: u64,
        sums: Sums,
    },
    Read {
        drive: Id128,
        key: ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    },
    Delete {
        drive: Id128,
        shards: Vec<(ShardKey, u64)>,
    },
    Has {
        drive: Id128,
        shards: Vec<ShardKey>,
    },

    // answers
    Done(Result<(), ShardError>),
    /// To the put of that number.
    PutDone(u64, Result<(), ShardError>),
    /// To a read: `len` bytes follow, which have this CRC-32C.
    Bytes {
        len: u32,
        crc: u32,
    },
    Held(Vec<bool>),
}

/// Length of a block and the CRC-32C of each of its units of 32 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) len: u32,
    pub(crate) crcs: Box<[u32]>,
}

/// Bytes that are no frame of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    TooLong(usize),
    /// The body ends before its fields, or goes on behind them.
    Length,
    Kind(u8),
    /// A field has a value that it must not have.
    Value(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::TooLong(bytes) => write!(f, "a frame of {bytes} bytes"),
            Malformed::Length => f.write_str("a frame of another length than its fields"),
            Malformed::Kind(kind) => write!(f, "a frame of unknown kind {kind}"),
            Malformed::Value(what) => write!(f, "a frame with a bad {what}"),
        }
    }
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const BEGIN: u8 = 16;
const BLOCK: u8 = 17;
const SEAL: u8 = 18;
const PUTS: u8 = 19;
const PUT: u8 = 20;
const READ: u8 = 21;
const DELETE: u8 = 22;
const HAS: u8 = 23;
const DONE: u8 = 32;
const PUT_DONE: u8 = 33;
const BYTES: u8 = 34;
const HELD: u8 = 35;

/// A number of blocks that is not known.
const UNKNOWN: u32 = u32::MAX;

impl Frame {
    /// Appends the frame with its length.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32_le(0);
        self.encode_body(out);
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    pub(crate) fn encoded(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(128);
        self.encode(&mut out);
        out.freeze()
    }

    fn encode_body(&self, out: &mut BytesMut) {
        match self {
            Frame::Hello {
                version,
                oldest,
                deployment,
                region,
                process,
                proof,
            } => {
                out.put_u8(HELLO);
                out.put_u16_le(*version);
                out.put_u16_le(*oldest);
                put_text(out, deployment);
                put_text(out, region);
                put_text(out, process);
                out.put_slice(proof);
            }
            Frame::Welcome {
                version,
                process,
                proof,
            } => {
                out.put_u8(WELCOME);
                out.put_u16_le(*version);
                put_text(out, process);
                out.put_slice(proof);
            }
            Frame::Refused(refusal) => {
                out.put_u8(REFUSED);
                out.put_u8(*refusal as u8);
            }
            Frame::Begin {
                drive,
                key,
                generation,
                blocks,
                block_bytes,
            } => {
                out.put_u8(BEGIN);
                out.put_slice(drive);
                put_key(out, key);
                out.put_u64_le(*generation);
                out.put_u32_le(blocks.unwrap_or(UNKNOWN));
                out.put_u32_le(*block_bytes);
            }
            Frame::Block(sums) => {
                out.put_u8(BLOCK);
                put_sums(out, sums);
            }
            Frame::Seal => out.put_u8(SEAL),
            Frame::Puts { drive } => {
                out.put_u8(PUTS);
                out.put_slice(drive);
            }
            Frame::Put {
                number,
                key,
                generation,
                sums,
            } => {
                out.put_u8(PUT);
                out.put_u64_le(*number);
                put_key(out, key);
                out.put_u64_le(*generation);
                put_sums(out, sums);
            }
            Frame::Read {
                drive,
                key,
                generation,
                block,
                offset,
                len,
            } => {
                out.put_u8(READ);
                out.put_slice(drive);
                put_key(out, key);
                out.put_u64_le(*generation);
                out.put_u32_le(*block);
                out.put_u32_le(*offset);
                out.put_u32_le(*len);
            }
            Frame::Delete { drive, shards } => {
                out.put_u8(DELETE);
                out.put_slice(drive);
                out.put_u32_le(shards.len() as u32);
                for (key, generation) in shards {
                    put_key(out, key);
                    out.put_u64_le(*generation);
                }
            }
            Frame::Has { drive, shards } => {
                out.put_u8(HAS);
                out.put_slice(drive);
                out.put_u32_le(shards.len() as u32);
                shards.iter().for_each(|key| put_key(out, key));
            }
            Frame::Done(result) => {
                out.put_u8(DONE);
                put_result(out, result);
            }
            Frame::PutDone(number, result) => {
                out.put_u8(PUT_DONE);
                out.put_u64_le(*number);
                put_result(out, result);
            }
            Frame::Bytes { len, crc } => {
                out.put_u8(BYTES);
                out.put_u32_le(*len);
                out.put_u32_le(*crc);
            }
            Frame::Held(held) => {
                out.put_u8(HELD);
                out.put_u32_le(held.len() as u32);
                held.iter().for_each(|held| out.put_u8((*held).into()));
            }
        }
    }

    /// Reads the body of a frame, all of it.
    pub(crate) fn decode(body: &[u8]) -> Result<Frame, Malformed> {
        let mut fields = Fields(body);
        let frame = fields.frame()?;
        if fields.0.is_empty() {
            Ok(frame)
        } else {
            Err(Malformed::Length)
        }
    }
}

/// The length of a frame's body from its first four bytes.
pub(crate) fn body_len(prefix: [u8; 4]) -> Result<usize, Malformed> {
    match u32::from_le_bytes(prefix) as usize {
        0 => Err(Malformed::Length),
        len if len > FRAME_BYTES => Err(Malformed::TooLong(len)),
        len => Ok(len),
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u32_le(end as u32);
    out.put_slice(&text.as_bytes()[..end]);
}

fn put_key(out: &mut BytesMut, key: &ShardKey) {
    out.put_u64_le(key.bucket);
    out.put_slice(&key.blob);
    out.put_u64_le(key.pg);
    out.put_u8(key.index);
}

fn put_sums(out: &mut BytesMut, sums: &Sums) {
    out.put_u32_le(sums.len);
    sums.crcs.iter().for_each(|crc| out.put_u32_le(*crc));
}

fn put_result(out: &mut BytesMut, result: &Result<(), ShardError>) {
    match result {
        Ok(()) => out.put_u8(0),
        Err(ShardError::NotFound) => out.put_u8(1),
        Err(ShardError::Corrupt) => out.put_u8(2),
        Err(ShardError::Stale { current }) => {
            out.put_u8(3);
            out.put_u64_le(*current);
        }
        Err(ShardError::Full) => out.put_u8(4),
        Err(ShardError::Failed(why)) => {
            out.put_u8(5);
            put_text(out, why);
        }
        Err(ShardError::Io(why)) => {
            out.put_u8(6);
            put_text(out, why);
        }
        Err(ShardError::Closed) => out.put_u8(7),
        Err(ShardError::Stalled) => out.put_u8(8),
        Err(ShardError::Unreachable(why)) => {
            out.put_u8(9);
            put_text(out, why);
        }
    }
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let len = self.u32()? as usize;
        if len > TEXT_BYTES {
            return Err(Malformed::Value("text"));
        }
        let text = std::str::from_utf8(self.bytes(len)?).map_err(|_| Malformed::Value("text"))?;
        Ok(text.to_owned())
    }

    fn key(&mut self) -> Result<ShardKey, Malformed> {
        Ok(ShardKey {
            bucket: self.u64()?,
            blob: self.array()?,
            pg: self.u64()?,
            index: self.u8()?,
        })
    }

    fn sums(&mut self) -> Result<Sums, Malformed> {
        let len = self.u32()?;
        if len == 0 || len as usize > DATA_BYTES {
            return Err(Malformed::Value("block length"));
        }
        let crcs = (0..(len as usize).div_ceil(UNIT_BYTES)).map(|_| self.u32());
        let crcs = crcs.collect::<Result<_, _>>()?;
        Ok(Sums { len, crcs })
    }

    /// A count of items, each of which takes `item_bytes` of what is left.
    fn count(&mut self, item_bytes: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        if count > BATCH {
            return Err(Malformed::Value("count"));
        }
        if count * item_bytes != self.0.len() {
            return Err(Malformed::Length);
        }
        Ok(count)
    }

    fn result(&mut self) -> Result<Result<(), ShardError>, Malformed> {
        Ok(match self.u8()? {
            0 => Ok(()),
            1 => Err(ShardError::NotFound),
            2 => Err(ShardError::Corrupt),
            3 => Err(ShardError::Stale {
                current: self.u64()?,
            }),
            4 => Err(ShardError::Full),
            5 => Err(ShardError::Failed(self.text()?)),
            6 => Err(ShardError::Io(self.text()?)),
            7 => Err(ShardError::Closed),
            8 => Err(ShardError::Stalled),
            9 => Err(ShardError::Unreachable(self.text()?)),
            _ => return Err(Malformed::Value("result")),
        })
    }

    fn frame(&mut self) -> Result<Frame, Malformed> {
        Ok(match self.u8()? {
            HELLO => Frame::Hello {
                version: self.u16()?,
                oldest: self.u16()?,
                deployment: self.text()?,
                region: self.text()?,
                process: self.text()?,
                proof: self.array()?,
            },
            WELCOME => Frame::Welcome {
                version: self.u16()?,
                process: self.text()?,
                proof: self.array()?,
            },
            REFUSED => Frame::Refused(match self.u8()? {
                1 => Refusal::Version,
                2 => Refusal::Deployment,
                3 => Refusal::Region,
                4 => Refusal::Secret,
                _ => return Err(Malformed::Value("refusal")),
            }),
            BEGIN => Frame::Begin {
                drive: self.array()?,
                key: self.key()?,
                generation: self.u64()?,
                blocks: Some(self.u32()?).filter(|blocks| *blocks != UNKNOWN),
                block_bytes: match self.u32()? {
                    bytes if bytes as usize <= DATA_BYTES => bytes,
                    _ => return Err(Malformed::Value("block length")),
                },
            },
            BLOCK => Frame::Block(self.sums()?),
            SEAL => Frame::Seal,
            PUTS => Frame::Puts {
                drive: self.array()?,
            },
            PUT => Frame::Put {
                number: self.u64()?,
                key: self.key()?,
                generation: self.u64()?,
                sums: self.sums()?,
            },
            READ => Frame::Read {
                drive: self.array()?,
                key: self.key()?,
                generation: self.u64()?,
                block: self.u32()?,
                offset: self.u32()?,
                len: match self.u32()? {
                    len if len as usize <= DATA_BYTES => len,
                    _ => return Err(Malformed::Value("range")),
                },
            },
            DELETE => {
                let drive = self.array()?;
                let shards = (0..self.count(41)?).map(|_| Ok((self.key()?, self.u64()?)));
                Frame::Delete {
                    drive,
                    shards: shards.collect::<Result<_, _>>()?,
                }
            }
            HAS => {
                let drive = self.array()?;
                let shards = (0..self.count(33)?).map(|_| self.key());
                Frame::Has {
                    drive,
                    shards: shards.collect::<Result<_, _>>()?,
                }
            }
            DONE => Frame::Done(self.result()?),
            PUT_DONE => Frame::PutDone(self.u64()?, self.result()?),
            BYTES => Frame::Bytes {
                len: match self.u32()? {
                    len if len as usize <= DATA_BYTES => len,
                    _ => return Err(Malformed::Value("range")),
                },
                crc: self.u32()?,
            },
            HELD => {
                let held = (0..self.count(1)?).map(|_| match self.u8()? {
                    0 => Ok(false),
                    1 => Ok(true),
                    _ => Err(Malformed::Value("answer")),
                });
                Frame::Held(held.collect::<Result<_, _>>()?)
            }
            kind => return Err(Malformed::Kind(kind)),
        })
    }
}

#[cfg(test)]
mod tests;
