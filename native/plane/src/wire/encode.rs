//! Values to bytes.

use anvil_engine::target::{ShardError, ShardKey};
use bytes::{BufMut, Bytes, BytesMut};

use super::kind::*;
use super::{Frame, Sums, UNKNOWN};
use crate::limits::TEXT_BYTES;

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
            Frame::Request(request) => {
                out.put_u8(REQUEST);
                put_text(out, request.as_str());
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
