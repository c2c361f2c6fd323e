//! A shard that a peer streams to a drive: each block is verified, given to the drive, and answered when it is with it.

use std::pin::pin;

use anvil_engine::id::Id128;
use anvil_engine::target::{Block, ShardError, ShardKey, ShardResult, ShardSink};
use futures_util::stream::{FuturesOrdered, StreamExt, unfold};
use quinn::{RecvStream, SendStream};

use super::accept::Context;
use super::asked::Asked;
use super::memory::Held;
use crate::limits::APPENDS_AT_A_TIME;
use crate::stream::{StreamError, read_block, read_frame, write_frame};
use crate::wire::Frame;

pub(super) struct Begin {
    pub(super) drive: Id128,
    pub(super) key: ShardKey,
    pub(super) generation: u64,
    pub(super) blocks: Option<u32>,
    pub(super) block_bytes: usize,
}

enum Input {
    Block(Block, Held),
    Seal,
}

/// Ends with the answer to the seal. Ends otherwise in any other case, and then nothing of the shard stays.
pub(super) async fn write(
    context: &Context,
    begin: Begin,
    asked: &Asked,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(), StreamError> {
    let block_bytes = begin.block_bytes;
    let starting = asked.working();
    let started = start(context, &begin).await;
    drop(starting);
    let mut sink = match asked.note(started) {
        Ok(sink) => sink,
        Err(error) => return write_frame(send, &Frame::Done(Err(error))).await,
    };
    let inputs = unfold(receive, async |receive| {
        let input = input(context, begin.drive, block_bytes, receive).await;
        input.transpose().map(|input| (input, receive))
    });
    let mut inputs = pin!(inputs);
    let mut appends = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(appended) = appends.next(), if !appends.is_empty() => {
                let appended: ShardResult<()> = appended;
                let failed = appended.is_err();
                write_frame(send, &Frame::Done(appended)).await?;
                if failed {
                    return Ok(());
                }
            }
            input = inputs.next(), if appends.len() < APPENDS_AT_A_TIME => match input {
                Some(Ok(Input::Block(block, held))) => {
                    let appending = sink.append(block);
                    let working = asked.working();
                    appends.push_back(async move {
                        let appended = appending.await;
                        drop((held, working));
                        asked.note(appended)
                    });
                }
                Some(Ok(Input::Seal)) => {
                    while let Some(appended) = appends.next().await {
                        let failed = appended.is_err();
                        write_frame(send, &Frame::Done(appended)).await?;
                        if failed {
                            return Ok(());
                        }
                    }
                    let working = asked.working();
                    let sealed = sink.seal().await;
                    drop(working);
                    return write_frame(send, &Frame::Done(asked.note(sealed))).await;
                }
                Some(Err(StreamError::Corrupt)) => {
                    let corrupt = asked.note(Err(ShardError::Corrupt));
                    return write_frame(send, &Frame::Done(corrupt)).await;
                }
                Some(Err(error)) => return Err(error),
                // The stream ended without a seal.
                None => return Err(StreamError::GivenUp),
            },
        }
    }
}

async fn start(context: &Context, begin: &Begin) -> ShardResult<Box<dyn ShardSink>> {
    let target = context.server.drive(&begin.drive)?;
    let (key, generation) = (begin.key, begin.generation);
    let (blocks, block_bytes) = (begin.blocks, begin.block_bytes);
    // A drive makes a file here, which may block.
    let begun =
        tokio::task::spawn_blocking(move || target.begin(key, generation, blocks, block_bytes));
    begun
        .await
        .map_err(|error| ShardError::Io(error.to_string()))?
}

async fn input(
    context: &Context,
    drive: Id128,
    block_bytes: usize,
    receive: &mut RecvStream,
) -> Result<Option<Input>, StreamError> {
    match read_frame(receive).await? {
        Some(Frame::Block(sums)) if sums.len as usize <= block_bytes => {
            let held = context.share.take(drive, sums.len as usize).await;
            let block = read_block(receive, sums).await?;
            Ok(Some(Input::Block(block, held)))
        }
        Some(Frame::Seal) => Ok(Some(Input::Seal)),
        Some(_) => Err(StreamError::Unexpected),
        None => Ok(None),
    }
}
