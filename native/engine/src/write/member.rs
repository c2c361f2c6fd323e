//! The writer of one member's shard: a task with a queue, so that a slow member does not hold up the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::settle::HOPELESS_AFTER_STALLS;
use crate::engine::Engine;
use crate::id::hex;
use crate::request::RequestId;
use crate::target::{Block, ShardError, ShardKey, ShardResult, ShardSink, ShardTarget};

/// Appends that one drive works on for one blob.
const APPENDS_AT_A_TIME: usize = 4;

pub(crate) enum Message {
    Append(Block),
    /// Make the shard durable and report under the index.
    Seal(Report),
}

/// Where members report how their write ended, under their index.
pub(crate) type Report = mpsc::UnboundedSender<Ended>;
pub(crate) type Ended = (usize, ShardResult<()>);

/// The sending side. Dropping it before the seal removes what was written.
pub(crate) struct Member {
    queue: mpsc::UnboundedSender<Message>,
    progress: Arc<Progress>,
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
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    pub(super) fn moved(&self) -> Instant {
        self.progress.inner.lock().moved
    }

    pub(super) fn error(&self) -> Option<ShardError> {
        self.progress.inner.lock().failed.clone()
    }

    pub(super) fn failed(&self) -> bool {
        self.progress.inner.lock().failed.is_some()
    }

    pub(super) fn leave_out(&self, why: ShardError) {
        self.progress.leave_out(why);
    }

    pub(crate) fn send(&self, message: Message) {
        if let Message::Append(_) = message {
            if self.failed() {
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

/// A member's writer, before and while it runs.
pub(super) struct Writer {
    key: ShardKey,
    generation: u64,
    request: Option<RequestId>,
    progress: Arc<Progress>,
    /// None: what is sealed stays.
    verdict: Option<VerdictReceiver>,
}

/// What a writer was told to do at its end; None: to give up.
type Ending = Option<(Box<dyn ShardSink>, Report)>;

impl Writer {
    pub(super) fn new(
        key: ShardKey,
        generation: u64,
        request: Option<RequestId>,
        verdict: Option<VerdictReceiver>,
    ) -> Writer {
        Writer {
            key,
            generation,
            request,
            progress: Progress::new(),
            verdict,
        }
    }

    /// `target`: None if the drive is not reachable; the member then counts as failed.
    pub(super) fn start(
        self,
        engine: &Engine,
        target: Option<Arc<dyn ShardTarget>>,
        blocks: Option<u32>,
        block_bytes: usize,
    ) -> Member {
        let (queue, messages) = mpsc::unbounded_channel();
        let progress = self.progress.clone();
        match target {
            None => progress.leave_out(ShardError::Closed),
            Some(target) => engine.spawn(self.run(target, blocks, block_bytes, messages)),
        }
        Member { queue, progress }
    }

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
            ending = self.write(target.clone(), blocks, block_bytes, messages) => ending,
        };
        // What still waited in the queue is dropped by now, and with that its memory is free.
        match ending {
            Ok(None) => {}
            Ok(Some((sink, report))) => self.seal(&*target, sink, report).await,
            Err(error) => {
                tracing::warn!(
                    request = self.request.as_ref().map(display),
                    blob = %hex(&self.key.blob),
                    index = self.key.index,
                    pg = self.key.pg,
                    %error,
                    "a member is left out of a write"
                );
                self.progress.leave_out(error);
            }
        }
    }

    async fn write(
        &self,
        target: Arc<dyn ShardTarget>,
        blocks: Option<u32>,
        block_bytes: usize,
        mut messages: mpsc::UnboundedReceiver<Message>,
    ) -> ShardResult<Ending> {
        let (key, generation) = (self.key, self.generation);
        // A drive makes a file here, which may block.
        let begun =
            tokio::task::spawn_blocking(move || target.begin(key, generation, blocks, block_bytes));
        let mut sink = begun
            .await
            .map_err(|error| ShardError::Io(error.to_string()))??;
        let mut appends = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(appended) = appends.next() => {
                    let () = appended?;
                    self.progress.written();
                }
                message = messages.recv(), if appends.len() < APPENDS_AT_A_TIME => match message {
                    Some(Message::Append(block)) => appends.push(sink.append(block)),
                    Some(Message::Seal(report)) => {
                        while let Some(appended) = appends.next().await {
                            let () = appended?;
                            self.progress.written();
                        }
                        return Ok(Some((sink, report)));
                    }
                    None => {
                        drop(appends);
                        sink.abort();
                        return Ok(None);
                    }
                },
            }
        }
    }

    async fn seal(&self, target: &dyn ShardTarget, sink: Box<dyn ShardSink>, report: Report) {
        self.progress.written();
        let sealed = sink.seal().await;
        if let Err(error) = &sealed {
            self.progress.leave_out(error.clone());
        }
        let durable = sealed.is_ok();
        let unnoticed = report.send((self.key.index.into(), sealed)).is_err();
        if let Some(verdict) = self.verdict.clone().filter(|_| unnoticed && durable) {
            remove_if_failed(target, self.key, self.generation, verdict).await;
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
    if let Err(error) = target.delete(vec![(key, generation)]).await {
        tracing::warn!(blob = %hex(&key.blob), index = key.index, %error, "a shard of a failed upload stays for the collector");
    }
}

/// Leaves out members that stall while enough of the others are done, so that they do not hold the blob's memory; where too
/// few are done, those that stall for so long that [`settle`](super::settle) would give them up. Runs until the write is over.
pub(super) async fn leave_out_stalled(
    mut verdict: VerdictReceiver,
    members: Vec<Arc<Progress>>,
    quorum: usize,
    stall: Duration,
) {
    let over = verdict.wait_for(Option::is_some);
    tokio::pin!(over);
    while tokio::time::timeout(stall / 4, &mut over).await.is_err() {
        let enough = members.iter().filter(|member| member.idle()).count() >= quorum;
        let limit = stall * if enough { 1 } else { HOPELESS_AFTER_STALLS };
        for member in &members {
            if member.stalled(limit) {
                member.leave_out(ShardError::Stalled);
            }
        }
    }
}
