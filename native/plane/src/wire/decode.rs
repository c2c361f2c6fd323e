//! Bytes to values: nothing is believed, and nothing is allocated beyond what the bytes at hand can fill.

use anvil_codec::UNIT_BYTES;
use anvil_engine::RequestId;
use anvil_engine::target::{ShardError, ShardKey};

use super::kind::*;
use super::{Frame, Malformed, Refusal, Sums, UNKNOWN};
use crate::limits::{BATCH, DATA_BYTES, FRAME_BYTES, TEXT_BYTES};

impl Frame {
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
            REQUEST => {
                let request = RequestId::parse(&self.text()?);
                Frame::Request(request.ok_or(Malformed::Value("request id"))?)
            }
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
