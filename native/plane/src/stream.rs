//! Frames and data over one QUIC stream.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use anvil_codec::crc;
use anvil_engine::target::{Block, ShardError};
use bytes::{BufMut, Bytes, BytesMut};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use tokio::io::AsyncReadExt;

use crate::limits::{FRAME_BYTES, FRAME_STALL};
use crate::wire::{self, Frame, Malformed, Sums};

/// Application error codes of streams (RESET_STREAM, STOP_SENDING).
pub(crate) mod code {
    use quinn::VarInt;

    /// Given up by its writer: what was written of a shard goes.
    pub(crate) const GIVEN_UP: VarInt = VarInt::from_u32(1);
    /// Not of this protocol.
    pub(crate) const MALFORMED: VarInt = VarInt::from_u32(2);
    /// Stood still for too long.
    pub(crate) const STALLED: VarInt = VarInt::from_u32(3);
}

/// Why a stream did not go on.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The other side gave the stream up.
    GivenUp,
    /// The connection is gone.
    Lost(String),
    /// No byte came in the middle of a frame or its data.
    Stalled,
    Malformed(Malformed),
    /// A frame that does not belong here.
    Unexpected,
    /// The data do not have their checksum.
    Corrupt,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::GivenUp => f.write_str("given up by the other side"),
            StreamError::Lost(why) => write!(f, "connection lost: {why}"),
            StreamError::Stalled => f.write_str("stood still in the middle of a frame"),
            StreamError::Malformed(malformed) => malformed.fmt(f),
            StreamError::Unexpected => f.write_str("a frame that does not belong here"),
            StreamError::Corrupt => f.write_str("data without their checksum"),
        }
    }
}

impl StreamError {
    /// For the side that asked.
    pub(crate) fn into_shard_error(self) -> ShardError {
        match self {
            StreamError::Stalled => ShardError::Stalled,
            // Not the drive's fault: nothing of this is damage to a shard.
            _ => ShardError::Unreachable(self.to_string()),
        }
    }

    /// What the other side is told when its stream is refused.
    pub(crate) fn code(&self) -> quinn::VarInt {
        match self {
            StreamError::Malformed(_) | StreamError::Unexpected => code::MALFORMED,
            StreamError::Stalled => code::STALLED,
            _ => code::GIVEN_UP,
        }
    }
}

impl From<Malformed> for StreamError {
    fn from(malformed: Malformed) -> StreamError {
        StreamError::Malformed(malformed)
    }
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> StreamError {
        match error {
            ReadError::Reset(_) => StreamError::GivenUp,
            error => StreamError::Lost(error.to_string()),
        }
    }
}

impl From<WriteError> for StreamError {
    fn from(error: WriteError) -> StreamError {
        match error {
            WriteError::Stopped(_) => StreamError::GivenUp,
            error => StreamError::Lost(error.to_string()),
        }
    }
}

/// The next frame; None where the stream ends in front of one. Waits for its first byte as long as it takes.
pub(crate) async fn read_frame(from: &mut RecvStream) -> Result<Option<Frame>, StreamError> {
    read_short_frame(from, FRAME_BYTES).await
}

/// The same, refusing a body of more than `limit` bytes.
pub(crate) async fn read_short_frame(
    from: &mut RecvStream,
    limit: usize,
) -> Result<Option<Frame>, StreamError> {
    let mut prefix = [0; 4];
    let mut have = 0;
    while have < prefix.len() {
        let reading = from.read(&mut prefix[have..]);
        let read = if have == 0 {
            reading.await?
        } else {
            soon(reading).await??
        };
        match read {
            None if have == 0 => return Ok(None),
            None => return Err(Malformed::Length.into()),
            Some(read) => have += read,
        }
    }
    let len = wire::body_len(prefix)?;
    if len > limit {
        return Err(Malformed::TooLong(len).into());
    }
    let mut body = vec![0; len];
    match soon(from.read_exact(&mut body)).await? {
        Ok(()) => Ok(Some(Frame::decode(&body)?)),
        Err(ReadExactError::FinishedEarly(_)) => Err(Malformed::Length.into()),
        Err(ReadExactError::ReadError(error)) => Err(error.into()),
    }
}

/// The data behind a frame.
pub(crate) async fn read_data(from: &mut RecvStream, len: usize) -> Result<Bytes, StreamError> {
    let mut data = Vec::with_capacity(len);
    while data.len() < len {
        let missing = len - data.len();
        // Fills what is allocated, without clearing it first.
        let mut room = (&mut data).limit(missing);
        let read = soon(from.read_buf(&mut room)).await?;
        if read.map_err(|error| StreamError::Lost(error.to_string()))? == 0 {
            return Err(Malformed::Length.into());
        }
    }
    Ok(data.into())
}

/// A block, verified.
pub(crate) async fn read_block(from: &mut RecvStream, sums: Sums) -> Result<Block, StreamError> {
    let data = read_data(from, sums.len as usize).await?;
    if crc::crc32c_units(&data) != sums.crcs {
        return Err(StreamError::Corrupt);
    }
    Ok(Block {
        data,
        crcs: sums.crcs,
    })
}

pub(crate) async fn write_frame(to: &mut SendStream, frame: &Frame) -> Result<(), StreamError> {
    Ok(to.write_chunk(frame.encoded()).await?)
}

/// Frames and the data behind them, gathered so that they go out with few calls.
#[derive(Default)]
pub(crate) struct Outgoing {
    frames: BytesMut,
    chunks: Vec<Bytes>,
}

impl Outgoing {
    pub(crate) fn frame(&mut self, frame: &Frame) {
        frame.encode(&mut self.frames);
    }

    /// Data are not copied.
    pub(crate) fn data(&mut self, data: Bytes) {
        let frames = self.frames.split().freeze();
        if !frames.is_empty() {
            self.chunks.push(frames);
        }
        self.chunks.push(data);
    }

    pub(crate) async fn write(&mut self, to: &mut SendStream) -> Result<(), StreamError> {
        let frames = self.frames.split().freeze();
        if !frames.is_empty() {
            self.chunks.push(frames);
        }
        let mut chunks = std::mem::take(&mut self.chunks);
        Ok(to.write_all_chunks(&mut chunks).await?)
    }
}

/// The sums of a block; None if it is larger than the protocol takes.
pub(crate) fn sums(block: &Block) -> Option<Sums> {
    let good = !block.data.is_empty() && block.data.len() <= crate::limits::DATA_BYTES;
    good.then(|| Sums {
        len: block.data.len() as u32,
        crcs: block.crcs.clone(),
    })
}

async fn soon<T>(future: impl Future<Output = T>) -> Result<T, StreamError> {
    within(FRAME_STALL, future).await
}

/// Stalled if it takes longer.
pub(crate) async fn within<T>(
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T, StreamError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| StreamError::Stalled)
}
