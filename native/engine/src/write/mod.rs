//! Writing the shards of one blob to the members of its placement group, by the rules of DESIGN §5.5.

mod member;
mod settle;
mod stripe;

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

pub(crate) use member::{Member, Message};
pub(crate) use stripe::{Home, Lease, Stripe};

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::{Id128, hex};
use crate::registry::Pg;
use crate::request::RequestId;
use crate::target::{Block, ShardError, ShardKey, ShardTarget};
use member::{Progress, Verdict, VerdictReceiver, leave_out_stalled, remove, remove_if_failed};
use settle::{Outcome, Wanted, settle};

/// The shards of one blob on their way. Dropping it before [`BlobWriter::durable`] has succeeded gives the blob up: what was
/// written goes in the background, by [`OnFailure`].
pub(crate) struct BlobWriter {
    engine: Arc<Engine>,
    pub(crate) pg: Arc<Pg>,
    bucket: u64,
    blob: Id128,
    request: Option<RequestId>,
    on_failure: OnFailure,
    verdict: watch::Sender<Option<Verdict>>,
}

/// What becomes of sealed shards of a write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// They are removed: nobody else writes this blob, and no row names it.
    Remove,
    /// They stay for the orphan collector: another node may have written the same shards and committed them by now.
    Leave,
}

/// What is to be made durable.
pub(crate) enum Shards {
    /// One block per member.
    Single(Vec<Block>),
    /// Writers that have been given all blocks.
    Streamed(Vec<Member>),
}

/// How few members may hold their shard at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// As many as an acknowledged blob needs.
    Quorum,
    /// k, so that the bytes can be read: whoever asked for the write has them written into another group.
    Readable,
}

impl BlobWriter {
    /// InsufficientRedundancy if too few members are reachable.
    pub(crate) fn open(
        engine: &Arc<Engine>,
        pg: Arc<Pg>,
        bucket: u64,
        blob: Id128,
        request: Option<RequestId>,
        on_failure: OnFailure,
    ) -> Result<BlobWriter> {
        let targets = engine.registry.members(&pg, None);
        let reachable = targets.iter().flatten().count();
        if reachable < pg.write_quorum() {
            return Err(too_few(&pg, reachable));
        }
        Ok(BlobWriter {
            engine: engine.clone(),
            pg,
            bucket,
            blob,
            request,
            on_failure,
            verdict: watch::Sender::new(None),
        })
    }

    /// Writers for a blob of several blocks per member, all but the last of `block_bytes`; `blocks` if their number is known.
    pub(crate) fn start_members(&self, blocks: Option<u32>, block_bytes: usize) -> Vec<Member> {
        let targets = self.targets();
        let members: Vec<Member> = (0u8..)
            .zip(targets)
            .map(|(index, target)| {
                let writer = member::Writer::new(
                    self.shard_key(index),
                    self.pg.generation,
                    self.request.clone(),
                    self.late_verdict(),
                );
                writer.start(&self.engine, target, blocks, block_bytes)
            })
            .collect();
        let progress: Vec<Arc<Progress>> = members.iter().map(Member::progress).collect();
        let (quorum, stall) = (self.pg.write_quorum(), self.engine.limits.stall);
        self.engine.spawn(leave_out_stalled(
            self.verdict.subscribe(),
            progress,
            quorum,
            stall,
        ));
        members
    }

    /// The error that a write with these members can only end with, if it is so.
    pub(crate) fn hopeless(&self, members: &[Member], floor: Floor) -> Option<Error> {
        let mut so_far = Outcome::default();
        for (index, member) in members.iter().enumerate() {
            match member.error() {
                None => so_far.durable.push(index),
                Some(error) => so_far.left_out.push((index, error)),
            }
        }
        so_far.error(self.least(floor))
    }

    fn least(&self, floor: Floor) -> usize {
        match floor {
            Floor::Quorum => self.pg.write_quorum(),
            Floor::Readable => self.pg.k,
        }
    }

    /// Resolves with the indexes left out once enough members have their shard on stable storage: all but those that failed
    /// or stall, and never fewer than `floor` says. On an error nothing of the blob stays, but for what [`OnFailure`] leaves.
    pub(crate) async fn durable(&self, shards: Shards, floor: Floor) -> Result<Vec<usize>> {
        let outcome = match shards {
            Shards::Single(blocks) => self.put_all(blocks, floor).await,
            Shards::Streamed(members) => self.seal_all(members, floor).await,
        };
        if let Some(error) = outcome.error(self.least(floor)) {
            self.verdict.send_replace(Some(Verdict::Failed));
            if self.on_failure == OnFailure::Remove {
                self.remove(&outcome.durable).await;
            }
            return Err(error);
        }
        self.verdict.send_replace(Some(Verdict::Kept));
        if !outcome.left_out.is_empty() {
            tracing::warn!(
                request = self.request.as_ref().map(display),
                blob = %hex(&self.blob),
                pg = self.pg.id,
                missing = ?outcome.left_out,
                "a blob was written without all of its members"
            );
        }
        let missing = outcome.left_out.iter().map(|(index, _)| *index);
        Ok(missing.collect())
    }

    /// Nothing more will come, and what was written must go; not if it was made durable before.
    pub(crate) fn give_up(&self) {
        self.verdict.send_if_modified(|verdict| {
            verdict.is_none() && {
                *verdict = Some(Verdict::Failed);
                true
            }
        });
    }

    /// What a write that finishes after the blob's end goes by; None: its shard stays, however the blob ended.
    fn late_verdict(&self) -> Option<VerdictReceiver> {
        (self.on_failure == OnFailure::Remove).then(|| self.verdict.subscribe())
    }

    /// A blob of one stripe: one write on each member, all in the caller's task; only those that are left out go on in one
    /// of their own.
    async fn put_all(&self, blocks: Vec<Block>, floor: Floor) -> Outcome {
        let (report, reports) = mpsc::unbounded_channel();
        let started = Instant::now();
        let targets = self.targets();
        let mut puts = Puts {
            engine: self.engine.clone(),
            running: FuturesUnordered::new(),
        };
        for ((index, target), block) in (0u8..).zip(targets).zip(blocks) {
            let report = report.clone();
            let Some(target) = target else {
                // The receiver lives until `settle` below is done.
                let _ = report.send((index.into(), Err(ShardError::Closed)));
                continue;
            };
            let (key, generation) = (self.shard_key(index), self.pg.generation);
            let verdict = self.late_verdict();
            puts.running.push(Box::pin(async move {
                let written = target.put(key, generation, block).await;
                let durable = written.is_ok();
                let unnoticed = report.send((index.into(), written)).is_err();
                if let Some(verdict) = verdict.filter(|_| unnoticed && durable) {
                    remove_if_failed(&*target, key, generation, verdict).await;
                }
            }));
        }
        drop(report);
        let settling = self.settle(floor, reports, |_| started, |_| None);
        tokio::pin!(settling);
        loop {
            tokio::select! {
                biased;
                Some(()) = puts.running.next() => {}
                outcome = &mut settling => return outcome,
            }
        }
    }

    /// A blob of several stripes: the writers make their shards durable.
    async fn seal_all(&self, members: Vec<Member>, floor: Floor) -> Outcome {
        let (report, reports) = mpsc::unbounded_channel();
        for (index, member) in members.iter().enumerate() {
            match member.error() {
                // The receiver lives until `settle` below is done.
                Some(error) => drop(report.send((index, Err(error)))),
                None => member.send(Message::Seal(report.clone())),
            }
        }
        drop(report);
        let mut outcome = self
            .settle(
                floor,
                reports,
                |index| members[index].moved(),
                |index| members[index].error(),
            )
            .await;
        for (index, error) in &mut outcome.left_out {
            let member = &members[*index];
            if let Some(reason) = member.error() {
                *error = reason;
            }
            member.leave_out(error.clone());
        }
        outcome
    }

    async fn settle(
        &self,
        floor: Floor,
        reports: mpsc::UnboundedReceiver<member::Ended>,
        moved: impl Fn(usize) -> Instant,
        failed: impl Fn(usize) -> Option<ShardError>,
    ) -> Outcome {
        let wanted = Wanted {
            members: self.pg.members.len(),
            quorum: self.pg.write_quorum(),
            least: self.least(floor),
        };
        let stall = self.engine.limits.stall;
        settle(wanted, stall, reports, moved, failed).await
    }

    /// Takes back the shards of a write that did not reach its quorum.
    async fn remove(&self, durable: &[usize]) {
        let targets = self.targets();
        let removals = durable.iter().filter_map(|index| {
            let target = targets.get(*index)?.clone()?;
            let key = self.shard_key(*index as u8);
            Some(async move { remove(&*target, key, self.pg.generation).await })
        });
        let patience = self.engine.limits.stall * 5;
        if tokio::time::timeout(patience, join_all(removals))
            .await
            .is_err()
        {
            tracing::warn!(
                request = self.request.as_ref().map(display),
                blob = %hex(&self.blob),
                pg = self.pg.id,
                "shards of a failed upload stay for the collector"
            );
        }
    }

    fn targets(&self) -> Vec<Option<Arc<dyn ShardTarget>>> {
        let registry = &self.engine.registry;
        registry.members(&self.pg, self.request.as_ref())
    }

    fn shard_key(&self, index: u8) -> ShardKey {
        ShardKey {
            bucket: self.bucket,
            blob: self.blob,
            pg: self.pg.id,
            index,
        }
    }
}

/// Writes under way. Dropping it gives up waiting for them: each still looks after its shard at its end.
struct Puts {
    engine: Arc<Engine>,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Drop for Puts {
    fn drop(&mut self) {
        if !self.running.is_empty() {
            let mut running = std::mem::take(&mut self.running);
            self.engine
                .spawn(async move { while running.next().await.is_some() {} });
        }
    }
}

fn too_few(pg: &Pg, working: usize) -> Error {
    Error::new(
        Kind::InsufficientRedundancy,
        format!(
            "{working} of at least {} members of placement group {} take shards",
            pg.write_quorum(),
            pg.id
        ),
    )
}
