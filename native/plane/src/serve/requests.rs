//! Streams of a proven peer: what kind of request it is, and the short ones.

use std::sync::Arc;

use anvil_codec::crc;
use anvil_engine::RequestId;
use anvil_engine::target::{ShardError, ShardResult};
use quinn::{RecvStream, SendStream};

use super::accept::Context;
use super::asked::Asked;
use super::{puts, shard};
use crate::limits::{ANSWER, FRAME_STALL};
use crate::stream::{Outgoing, StreamError, read_frame, within, write_frame};
use crate::wire::Frame;

/// One stream, to its end.
pub(super) async fn serve(context: Arc<Context>, mut send: SendStream, mut receive: RecvStream) {
    let first = within(FRAME_STALL, read_frame(&mut receive)).await;
    let served = match first.and_then(|first| first) {
        Ok(None) => Ok(()),
        Ok(Some(frame)) => named(&context, frame, &mut send, &mut receive).await,
        Err(error) => Err(error),
    };
    match served {
        Ok(()) => drop(send.finish()),
        Err(error) => {
            match error {
                StreamError::Malformed(_) | StreamError::Unexpected => {
                    tracing::warn!(node = %context.node, %error, "a peer's request is refused");
                }
                _ => tracing::debug!(node = %context.node, %error, "a peer's request ends"),
            }
            let _ = send.reset(error.code());
            let _ = receive.stop(error.code());
        }
    }
}

/// A request behind the name of the client's request that it is for, if it has one.
async fn named(
    context: &Context,
    first: Frame,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(), StreamError> {
    let Frame::Request(request) = first else {
        return conversation(context, None, first, send, receive).await;
    };
    match within(FRAME_STALL, read_frame(receive)).await?? {
        Some(first) => conversation(context, Some(request), first, send, receive).await,
        None => Err(StreamError::GivenUp),
    }
}

async fn conversation(
    context: &Context,
    request: Option<RequestId>,
    first: Frame,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(), StreamError> {
    match first {
        Frame::Begin {
            drive,
            key,
            generation,
            blocks,
            block_bytes,
        } => {
            let begin = shard::Begin {
                drive,
                key,
                generation,
                blocks,
                block_bytes: block_bytes as usize,
            };
            let asked = Asked::new(context, "write", (drive, key), request);
            shard::write(context, begin, &asked, send, receive).await
        }
        Frame::Puts { drive } => puts::take(context, drive, send, receive).await,
        Frame::Read {
            drive,
            key,
            generation,
            block,
            offset,
            len,
        } => {
            let range = Range {
                generation,
                block,
                offset,
                len,
            };
            let asked = Asked::new(context, "read", (drive, key), request);
            read(context, range, &asked, send).await
        }
        request @ (Frame::Delete { .. } | Frame::Has { .. }) => {
            let mut request = Some(request);
            while let Some(asked) = request {
                let answer = answer(context, asked).await?;
                write_frame(send, &answer).await?;
                request = read_frame(receive).await?;
            }
            Ok(())
        }
        _ => Err(StreamError::Unexpected),
    }
}

async fn answer(context: &Context, request: Frame) -> Result<Frame, StreamError> {
    let server = &context.server;
    Ok(match request {
        Frame::Delete { drive, shards } => Frame::Done(match server.drive(&drive) {
            Ok(target) => target.delete(shards).await,
            Err(error) => Err(error),
        }),
        Frame::Has { drive, shards } => {
            let held = match server.drive(&drive) {
                Ok(target) => target.has(shards).await,
                Err(error) => Err(error),
            };
            held.map_or_else(|error| Frame::Done(Err(error)), Frame::Held)
        }
        _ => return Err(StreamError::Unexpected),
    })
}

struct Range {
    generation: u64,
    block: u32,
    offset: u32,
    len: u32,
}

async fn read(
    context: &Context,
    range: Range,
    asked: &Asked,
    send: &mut SendStream,
) -> Result<(), StreamError> {
    let target = match asked.note(context.server.drive(&asked.drive)) {
        Ok(target) => target,
        Err(error) => return write_frame(send, &Frame::Done(Err(error))).await,
    };
    let _held = context.share.take(asked.drive, range.len as usize).await;
    let working = asked.working();
    let reading = target.read(
        asked.key,
        range.generation,
        range.block,
        range.offset,
        range.len,
    );
    let read: ShardResult<_> = tokio::select! {
        read = reading => read,
        // Overtaken, or gone.
        _ = send.stopped() => return Err(StreamError::GivenUp),
    };
    drop(working);
    let bytes = match asked.note(read) {
        Ok(bytes) if bytes.len() == range.len as usize => bytes,
        Ok(bytes) => {
            let error = ShardError::Io(format!("{} of {} bytes", bytes.len(), range.len));
            return write_frame(send, &Frame::Done(Err(error))).await;
        }
        Err(error) => return write_frame(send, &Frame::Done(Err(error))).await,
    };
    let mut out = Outgoing::default();
    out.frame(&Frame::Bytes {
        len: range.len,
        crc: crc::crc32c(&bytes),
    });
    out.data(bytes);
    within(ANSWER, out.write(send)).await?
}
