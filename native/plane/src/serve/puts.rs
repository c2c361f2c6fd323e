//! Shards of one block for one drive, many on one stream: all that have come are with the drive at once, so that they share
//! its group commits, and are answered as they become durable.

use std::pin::pin;

use anvil_engine::id::Id128;
use anvil_engine::target::{Block, ShardError, ShardResult};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt, unfold};
use quinn::{RecvStream, SendStream};

use super::accept::Context;
use super::asked::Asked;
use super::memory::Held;
use crate::limits::DRIVE_PUTS;
use crate::stream::{Outgoing, StreamError, read_block, read_frame};
use crate::wire::Frame;

struct Put {
    number: u64,
    asked: Asked,
    generation: u64,
    /// Corrupt if it came so.
    block: ShardResult<Block>,
    held: Held,
}

/// Until the peer ends the stream and all is answered.
pub(super) async fn take(
    context: &Context,
    drive: Id128,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(), StreamError> {
    let inputs = unfold(receive, async |receive| {
        let put = next(context, drive, receive).await;
        put.transpose().map(|put| (put, receive))
    });
    let mut inputs = pin!(inputs);
    let mut running = FuturesUnordered::new();
    let mut ended = false;
    let mut out = Outgoing::default();
    while !(ended && running.is_empty()) {
        tokio::select! {
            biased;
            Some((number, result)) = running.next(), if !running.is_empty() => {
                out.frame(&Frame::PutDone(number, result));
                while let Some(Some((number, result))) = running.next().now_or_never() {
                    out.frame(&Frame::PutDone(number, result));
                }
                out.write(send).await?;
            }
            input = inputs.next(), if !ended && running.len() < DRIVE_PUTS => match input {
                Some(put) => running.push(store(context, drive, put?)),
                None => ended = true,
            },
        }
    }
    Ok(())
}

async fn store(context: &Context, drive: Id128, put: Put) -> (u64, ShardResult<()>) {
    let stored = async {
        let target = context.server.drive(&drive)?;
        let _working = put.asked.working();
        target.put(put.asked.key, put.generation, put.block?).await
    };
    let stored = stored.await;
    drop(put.held);
    (put.number, put.asked.note(stored))
}

async fn next(
    context: &Context,
    drive: Id128,
    receive: &mut RecvStream,
) -> Result<Option<Put>, StreamError> {
    let mut frame = read_frame(receive).await?;
    let mut request = None;
    if let Some(Frame::Request(named)) = frame {
        request = Some(named);
        frame = read_frame(receive).await?;
        if frame.is_none() {
            return Err(StreamError::Unexpected);
        }
    }
    let (number, key, generation, sums) = match frame {
        Some(Frame::Put {
            number,
            key,
            generation,
            sums,
        }) => (number, key, generation, sums),
        Some(_) => return Err(StreamError::Unexpected),
        None => return Ok(None),
    };
    let held = context.share.take(drive, sums.len as usize).await;
    let block = match read_block(receive, sums).await {
        Ok(block) => Ok(block),
        Err(StreamError::Corrupt) => Err(ShardError::Corrupt),
        Err(error) => return Err(error),
    };
    Ok(Some(Put {
        number,
        asked: Asked::new(context, "write", (drive, key), request),
        generation,
        block,
        held,
    }))
}
