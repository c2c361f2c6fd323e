//! The writer of one member's shard: a task with a queue, so that a slow member does not hold up the others.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::Upload;
use crate::engine::Engine;
use crate::target::{Block, ShardError, ShardKey, ShardResult, ShardSink, ShardTarget};

pub(super) enum Message {
    Append(Block),
    /// Make the shard durable and report under the index.
    Seal(Report),
}

/// Where members report how their write ended, under their index.
pub(super) type Report = mpsc::UnboundedSender<(usize, ShardResult<()>)>;

/// The sending side. Dropping it before the seal removes what was written.
pub(super) struct Member {
    queue: mpsc::UnboundedSender<Message>,
    pub(super) progress: Arc<Progress>,
}

/// How far a member is, for those who decide whether to wait for it.
pub(super) struct Progress {
    inner: Mutex<Inner>,
    cancel: watch::Sender<bool>,
}

struct Inner {
    /// Blocks sent and not yet written.
    pending: usize,
    moved: Instant,
    failed: Option<ShardError>,
}

impl Progress {
    pub(super) fn new() -> Arc<Progress> {
        Arc::new(Progress {
            inner: Mutex::new(Inner {
                pending: 0,
                moved: Instant::now(),
                failed: None,
            }),
            cancel: watch::Sender::new(false),
        })
    }

    /// When something last went forward, or was given to an idle member.
    pub(super) fn moved(&self) -> Instant {
        self.inner.lock().moved
    }

    pub(super) fn failed(&self) -> Option<ShardError> {
        self.inner.lock().failed.clone()
    }

    /// Everything given to it is written.
    pub(super) fn idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.pending == 0 && inner.failed.is_none()
    }

    /// Has work, has not failed, and has not moved for `limit`.
    pub(super) fn stalled(&self, limit: Duration) -> bool {
        let inner = self.inner.lock();
        inner.pending > 0 && inner.failed.is_none() && inner.moved.elapsed() >= limit
    }

    /// Leaves the member out of the blob: what waits for it is dropped.
    pub(super) fn leave_out(&self, why: ShardError) {
        self.inner.lock().failed.get_or_insert(why);
        self.cancel.send_replace(true);
    }

    fn given(&self) {
        let mut inner = self.inner.lock();
        if inner.pending == 0 {
            inner.moved = Instant::now();
        }
        inner.pending += 1;
    }

    fn written(&self) {
        let mut inner = self.inner.lock();
        inner.pending = inner.pending.saturating_sub(1);
        inner.moved = Instant::now();
    }
}

impl Member {
    /// `target`: None if the drive is not reachable; the member then counts as failed.
    pub(super) fn start(
        engine: &Engine,
        target: Option<Arc<dyn ShardTarget>>,
        key: ShardKey,
        generation: u64,
        blocks: Option<u32>,
        block_bytes: usize,
        verdict: VerdictReceiver,
    ) -> Member {
        let (queue, messages) = mpsc::unbounded_channel();
        let progress = Progress::new();
        let writer = Writer {
            key,
            generation,
            progress: progress.clone(),
            verdict,
        };
        match target {
            None => progress.leave_out(ShardError::Closed),
            Some(target) => {
                engine.spawn(writer.run(target, blocks, block_bytes, messages));
            }
        }
        Member { queue, progress }
    }

    pub(super) fn send(&self, message: Message) {
        if let Message::Append(_) = message {
            if self.progress.failed().is_some() {
                return;
            }
            self.progress.given();
        }
        if let Err(mpsc::error::SendError(Message::Seal(report))) = self.queue.send(message) {
            // The writer is gone; who waits learns it from the report's end.
            drop(report);
        }
    }
}

/// How an upload ended, for writes that finish after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Late shards are as good as the others.
    Kept,
    /// Late shards must go.
    Failed,
}

/// None until the upload has ended.
pub(super) type VerdictReceiver = watch::Receiver<Option<Verdict>>;

struct Writer {
    key: ShardKey,
    generation: u64,
    progress: Arc<Progress>,
    verdict: VerdictReceiver,
}

/// What a writer was told to do at its end; None: to give up.
type Ending = Option<(Box<dyn ShardSink>, Report)>;

impl Writer {
    async fn run(
        self,
        target: Arc<dyn ShardTarget>,
        blocks: Option<u32>,
        block_bytes: usize,
        messages: mpsc::UnboundedReceiver<Message>,
    ) {
        let mut cancelled = self.progress.cancel.subscribe();
        let ending = tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(ShardError::Stalled),
            ending = self.write(&*target, blocks, block_bytes, messages) => ending,
        };
        // What still waited in the queue is dropped by now, and with that its memory is free.
        match ending {
            Ok(None) => {}
            Ok(Some((sink, report))) => self.seal(&*target, sink, report).await,
            Err(error) => {
                tracing::warn!(index = self.key.index, pg = self.key.pg, %error, "a member is left out of a write");
                self.progress.leave_out(error);
            }
        }
    }

    async fn write(
        &self,
        target: &dyn ShardTarget,
        blocks: Option<u32>,
        block_bytes: usize,
        mut messages: mpsc::UnboundedReceiver<Message>,
    ) -> ShardResult<Ending> {
        let mut sink = target.begin(self.key, self.generation, blocks, block_bytes)?;
        while let Some(message) = messages.recv().await {
            match message {
                Message::Append(block) => {
                    sink.append(block).await?;
                    self.progress.written();
                }
                Message::Seal(report) => return Ok(Some((sink, report))),
            }
        }
        sink.abort();
        Ok(None)
    }

    async fn seal(&self, target: &dyn ShardTarget, sink: Box<dyn ShardSink>, report: Report) {
        self.progress.written();
        let sealed = sink.seal().await;
        if let Err(error) = &sealed {
            self.progress.leave_out(error.clone());
        }
        let durable = sealed.is_ok();
        if report.send((self.key.index.into(), sealed)).is_err() && durable {
            remove_if_failed(target, self.key, self.generation, self.verdict.clone()).await;
        }
    }
}

/// A write that was left out as stalled became durable after all: it stays if its upload succeeded (a repair may have
/// written the same shard meanwhile), and goes if the upload failed.
pub(super) async fn remove_if_failed(
    target: &dyn ShardTarget,
    key: ShardKey,
    generation: u64,
    mut verdict: VerdictReceiver,
) {
    // An upload that is gone without a verdict was given up.
    let kept = verdict
        .wait_for(Option::is_some)
        .await
        .is_ok_and(|verdict| *verdict == Some(Verdict::Kept));
    if !kept {
        remove(target, key, generation).await;
    }
}

/// Removes a shard of a failed upload.
pub(super) async fn remove(target: &dyn ShardTarget, key: ShardKey, generation: u64) {
    if let Err(error) = target.delete(key, generation).await {
        tracing::warn!(index = key.index, %error, "a shard of a failed upload stays for the collector");
    }
}

/// Leaves out members that stall while enough of the others are done, so that they do not hold the upload's memory. Runs
/// until the upload is over.
pub(super) async fn leave_out_stalled(
    upload: Weak<Upload>,
    members: Vec<Arc<Progress>>,
    quorum: usize,
    stall: Duration,
) {
    loop {
        tokio::time::sleep(stall / 4).await;
        if upload.upgrade().is_none_or(|upload| upload.over()) {
            return;
        }
        if members.iter().filter(|member| member.idle()).count() < quorum {
            continue;
        }
        for member in &members {
            if member.stalled(stall) {
                member.leave_out(ShardError::Stalled);
            }
        }
    }
}
