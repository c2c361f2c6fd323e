//! Shards of one block for one drive of a peer: the small ones of all blobs share a stream, so that one write of the socket
//! carries many of them and one group commit of the drive serves them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use anvil_engine::id::Id128;
use anvil_engine::target::{Block, ShardError, ShardKey, ShardResult};
use parking_lot::Mutex;
use quinn::{RecvStream, SendStream};
use tokio::sync::{mpsc, oneshot};

use super::link::{Credit, Link};
use crate::limits::DRIVE_PUTS;
use crate::stream::{Outgoing, StreamError, read_frame, sums};
use crate::wire::{Frame, Sums};

/// Puts that go out with one write.
const GATHERED: usize = 64;

/// A shard on its way.
pub(super) struct Put {
    key: ShardKey,
    generation: u64,
    block: Block,
    sums: Sums,
    /// Names the request that it is for.
    naming: Option<Frame>,
    waiter: Waiter,
}

/// Who is told how it ended; with the credit that it takes until then.
struct Waiter {
    done: oneshot::Sender<ShardResult<()>>,
    _credit: Credit,
}

/// The queue of one drive. Its stream is opened with the first shard, and anew after it broke.
#[derive(Clone)]
pub(super) struct Puts(mpsc::Sender<Put>);

impl Puts {
    pub(super) fn start(link: &Arc<Link>, drive: Id128) -> Puts {
        let (queue, puts) = mpsc::channel(DRIVE_PUTS);
        link.local
            .runtime
            .spawn(run(Arc::downgrade(link), drive, puts));
        Puts(queue)
    }

    /// Durable when it resolves.
    pub(super) async fn put(
        &self,
        key: ShardKey,
        generation: u64,
        block: Block,
        naming: Option<Frame>,
        credit: Credit,
    ) -> ShardResult<()> {
        let (put, answered) = made(key, generation, block, naming, credit)?;
        self.0.send(put).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// A large shard, on a stream of its own.
pub(super) async fn put_alone(
    link: &Arc<Link>,
    drive: Id128,
    (key, generation, block): (ShardKey, u64, Block),
    naming: Option<Frame>,
    credit: Credit,
) -> ShardResult<()> {
    let (put, answered) = made(key, generation, block, naming, credit)?;
    let (queue, puts) = mpsc::channel(1);
    queue.send(put).await.map_err(|_| gone())?;
    drop(queue);
    run(Arc::downgrade(link), drive, puts).await;
    answered.await.unwrap_or_else(|_| Err(gone()))
}

fn made(
    key: ShardKey,
    generation: u64,
    block: Block,
    naming: Option<Frame>,
    credit: Credit,
) -> ShardResult<(Put, oneshot::Receiver<ShardResult<()>>)> {
    let sums = sums(&block).ok_or_else(|| {
        ShardError::Io(format!(
            "a block of {} bytes cannot be sent",
            block.data.len()
        ))
    })?;
    let (done, answered) = oneshot::channel();
    let waiter = Waiter {
        done,
        _credit: credit,
    };
    let put = Put {
        key,
        generation,
        block,
        sums,
        naming,
        waiter,
    };
    Ok((put, answered))
}

fn gone() -> ShardError {
    ShardError::Unreachable("the connection was lost".to_owned())
}

/// Until nobody puts any more, or the link is gone.
async fn run(link: Weak<Link>, drive: Id128, mut puts: mpsc::Receiver<Put>) {
    while let Some(first) = puts.recv().await {
        // Nobody is left who could use the connection.
        let Some(link) = link.upgrade() else { return };
        let (send, receive) = match link.open().await {
            Ok(opened) => opened,
            Err(error) => {
                let error = error.into_shard_error();
                tell(first.waiter, Err(error.clone()));
                if link.connection.close_reason().is_some() {
                    return;
                }
                continue;
            }
        };
        drop(link);
        let conversation = Conversation::default();
        let ended = tokio::try_join!(
            conversation.write(send, drive, first, &mut puts),
            conversation.read(receive),
        );
        if let Err(error) = ended {
            let error = error.into_shard_error();
            for waiter in conversation.waiting.into_inner().into_values() {
                tell(waiter, Err(error.clone()));
            }
        }
    }
}

/// One stream's shards and answers.
#[derive(Default)]
struct Conversation {
    /// Those that wait for their answer, by number.
    waiting: Mutex<HashMap<u64, Waiter>>,
    ended: AtomicBool,
}

impl Conversation {
    /// Until nobody puts any more.
    async fn write(
        &self,
        mut send: SendStream,
        drive: Id128,
        first: Put,
        puts: &mut mpsc::Receiver<Put>,
    ) -> Result<(), StreamError> {
        let mut out = Outgoing::default();
        out.frame(&Frame::Puts { drive });
        let mut gathered = vec![first];
        let mut number = 0;
        loop {
            for put in gathered.drain(..) {
                number += 1;
                self.waiting.lock().insert(number, put.waiter);
                if let Some(naming) = &put.naming {
                    out.frame(naming);
                }
                out.frame(&Frame::Put {
                    number,
                    key: put.key,
                    generation: put.generation,
                    sums: put.sums,
                });
                out.data(put.block.data);
            }
            out.write(&mut send).await?;
            if puts.recv_many(&mut gathered, GATHERED).await == 0 {
                self.ended.store(true, SeqCst);
                // The last answers are still to come.
                let _ = send.finish();
                return Ok(());
            }
        }
    }

    /// Until the other side has answered all.
    async fn read(&self, mut receive: RecvStream) -> Result<(), StreamError> {
        while let Some(frame) = read_frame(&mut receive).await? {
            let Frame::PutDone(number, result) = frame else {
                return Err(StreamError::Unexpected);
            };
            let waiter = self.waiting.lock().remove(&number);
            tell(waiter.ok_or(StreamError::Unexpected)?, result);
        }
        if self.ended.load(SeqCst) && self.waiting.lock().is_empty() {
            Ok(())
        } else {
            Err(StreamError::GivenUp)
        }
    }
}

fn tell(waiter: Waiter, result: ShardResult<()>) {
    // Nobody waits any more if the write was left out.
    let _ = waiter.done.send(result);
}
