//! A shard of several blocks on its way to a drive of a peer: a stream of its own, with an answer to each block, so that
//! what counts as written is written there.

use std::collections::VecDeque;
use std::sync::Arc;

use anvil_engine::RequestId;
use anvil_engine::id::Id128;
use anvil_engine::target::{Block, Operation, ShardError, ShardKey, ShardResult, ShardSink};
use parking_lot::Mutex;
use quinn::{RecvStream, SendStream};
use tokio::sync::{mpsc, oneshot};

use super::link::{Credit, Link};
use super::peer::Peer;
use crate::stream::{Outgoing, StreamError, code, read_frame, sums};
use crate::wire::Frame;

/// What is to be written.
pub(super) struct Shard {
    pub(super) drive: Id128,
    pub(super) key: ShardKey,
    pub(super) generation: u64,
    pub(super) blocks: Option<u32>,
    pub(super) block_bytes: u32,
    pub(super) request: Option<RequestId>,
}

enum Command {
    Append(Block, Answer),
    Seal(Answer),
}

type Answer = oneshot::Sender<ShardResult<()>>;

pub(super) struct RemoteSink {
    /// Its end without a seal gives the shard up.
    commands: mpsc::UnboundedSender<Command>,
    failure: Arc<Mutex<Option<ShardError>>>,
}

impl RemoteSink {
    /// Returns at once; what goes wrong is told with the first block.
    pub(super) fn start(peer: &Arc<Peer>, shard: Shard) -> RemoteSink {
        let (commands, queue) = mpsc::unbounded_channel();
        let failure = Arc::new(Mutex::new(None));
        let (peer, failed) = (peer.clone(), failure.clone());
        let runtime = peer.local.runtime.clone();
        runtime.spawn(async move {
            // An answer that is missing when these go is answered with the failure, which must be there by then.
            let (mut queue, asked) = (queue, Asked::default());
            if let Err(error) = run(&peer, shard, &mut queue, &asked).await {
                peer.counters.failure();
                *failed.lock() = Some(error);
            }
            drop((queue, asked));
        });
        RemoteSink { commands, failure }
    }

    fn ask(&self, command: impl FnOnce(Answer) -> Command) -> Operation<()> {
        let (answer, answered) = oneshot::channel();
        // Refused if the task is over; then the answer is dropped, too.
        let _ = self.commands.send(command(answer));
        let failure = self.failure.clone();
        Box::pin(async move {
            answered.await.unwrap_or_else(|_| {
                let failure = failure.lock().clone();
                Err(failure.unwrap_or(ShardError::Closed))
            })
        })
    }
}

impl ShardSink for RemoteSink {
    fn append(&mut self, block: Block) -> Operation<()> {
        self.ask(|answer| Command::Append(block, answer))
    }

    fn seal(self: Box<Self>) -> Operation<()> {
        self.ask(Command::Seal)
    }

    fn abort(self: Box<Self>) {}
}

async fn run(
    peer: &Arc<Peer>,
    shard: Shard,
    queue: &mut mpsc::UnboundedReceiver<Command>,
    asked: &Asked,
) -> ShardResult<()> {
    let link = peer.link().await?;
    let (mut send, receive) = link.open().await.map_err(StreamError::into_shard_error)?;
    let ended = tokio::try_join!(
        write(&link, &shard, queue, &mut send, asked),
        read(receive, asked),
    );
    if ended.is_err() {
        let _ = send.reset(code::GIVEN_UP);
    }
    ended.map(|_| ())
}

/// Those that wait for their answer, in order; with the credit that a block takes until then.
type Asked = Mutex<VecDeque<(Answer, Option<Credit>)>>;

/// Ends with the seal, and with an error where the sink ended without one.
async fn write(
    link: &Arc<Link>,
    shard: &Shard,
    queue: &mut mpsc::UnboundedReceiver<Command>,
    send: &mut SendStream,
    asked: &Asked,
) -> ShardResult<()> {
    let mut out = Outgoing::default();
    if let Some(naming) = link.naming(shard.request.as_ref()) {
        out.frame(&naming);
    }
    out.frame(&Frame::Begin {
        drive: shard.drive,
        key: shard.key,
        generation: shard.generation,
        blocks: shard.blocks,
        block_bytes: shard.block_bytes,
    });
    loop {
        match queue.recv().await {
            Some(Command::Append(block, answer)) => {
                let bytes = block.data.len();
                let sums = sums(&block).ok_or_else(|| {
                    ShardError::Io(format!("a block of {bytes} bytes cannot be sent"))
                })?;
                let credit = link.credit(shard.drive, bytes).await?;
                asked.lock().push_back((answer, Some(credit)));
                out.frame(&Frame::Block(sums));
                out.data(block.data);
                out.write(send)
                    .await
                    .map_err(StreamError::into_shard_error)?;
            }
            Some(Command::Seal(answer)) => {
                asked.lock().push_back((answer, None));
                out.frame(&Frame::Seal);
                out.write(send)
                    .await
                    .map_err(StreamError::into_shard_error)?;
                let _ = send.finish();
                return Ok(());
            }
            None => return Err(ShardError::Closed),
        }
    }
}

/// Ends with the answer to the seal, after which the other side ends the stream, or with the first error.
async fn read(mut receive: RecvStream, asked: &Asked) -> ShardResult<()> {
    loop {
        let frame = read_frame(&mut receive).await;
        match frame.map_err(StreamError::into_shard_error)? {
            Some(Frame::Done(result)) => {
                let answered = asked.lock().pop_front();
                // An error may come before anything was asked: the drive does not take the shard.
                if let Some((answer, _)) = answered {
                    let _ = answer.send(result.clone());
                }
                result?;
            }
            Some(_) => return Err(StreamError::Unexpected.into_shard_error()),
            None if asked.lock().is_empty() => return Ok(()),
            None => return Err(StreamError::GivenUp.into_shard_error()),
        }
    }
}
