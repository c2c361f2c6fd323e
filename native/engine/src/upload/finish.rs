//! The end of an upload: the digests first, then durability, then the result. What fails leaves nothing behind.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::member::{Member, Message, Verdict, remove, remove_if_failed};
use super::options::UploadResult;
use super::settle::{Outcome, settle};
use super::{State, Upload, body_error};
use crate::error::{Error, Kind, Result};
use crate::registry::Pg;
use crate::target::{Block, ShardError};

type Trailers = Vec<(String, String)>;

impl Upload {
    /// The body is complete. Resolves when enough members have their shard on stable storage; on an error nothing of the
    /// upload stays.
    pub async fn finish(self: &Arc<Self>) -> Result<UploadResult> {
        let finished = self.try_finish().await;
        match &finished {
            Ok(_) => {
                self.verdict.send_replace(Some(Verdict::Kept));
                self.home.close();
            }
            Err(error) => self.fail(error.clone()),
        }
        finished
    }

    async fn try_finish(self: &Arc<Self>) -> Result<UploadResult> {
        let trailers = self.end_of_body(&mut self.state.lock())?;
        if let Some(result) = self.finish_inline(&trailers)? {
            return Ok(result);
        }
        self.wait_until(|state| self.processed(state)).await?;
        let mut result = self.verified(&mut self.state.lock(), trailers)?;
        result.stripe_bytes = self.stripe_bytes;
        let pg = self
            .pg
            .clone()
            .ok_or_else(|| Error::internal("a body for drives without a placement group"))?;
        let (single, members) = {
            let mut state = self.state.lock();
            state.check()?;
            (state.single.take(), std::mem::take(&mut state.members))
        };
        let outcome = match single {
            Some(blocks) => self.put_all(&pg, blocks).await,
            None => self.seal_all(&pg, members).await,
        };
        if let Some(error) = outcome.error(pg.write_quorum()) {
            self.remove(&pg, &outcome.durable).await;
            return Err(error);
        }
        result.missing = outcome.left_out.iter().map(|(index, _)| *index).collect();
        if !result.missing.is_empty() {
            tracing::warn!(pg = pg.id, missing = ?outcome.left_out, "a blob was written without all of its members");
        }
        Ok(result)
    }

    /// Nothing more may be written; the lengths must be right.
    fn end_of_body(&self, state: &mut State) -> Result<Trailers> {
        state.check()?;
        if std::mem::replace(&mut state.ended, true) {
            return Err(Error::internal("the upload was ended twice"));
        }
        let trailers = match &mut state.decoder {
            Some(decoder) => decoder.finish().map_err(body_error)?,
            None => Vec::new(),
        };
        match self.options.content_length {
            Some(length) if length != state.received => Err(Error::new(
                Kind::IncompleteBody,
                format!("{} of {length} bytes came", state.received),
            )),
            _ => Ok(trailers),
        }
    }

    /// A small body is hashed here and now and never meets a drive.
    fn finish_inline(&self, trailers: &Trailers) -> Result<Option<UploadResult>> {
        let mut state = self.state.lock();
        if state.received > 0
            && (state.submitted > 0 || state.received > self.options.inline_bytes as u64)
        {
            return Ok(None);
        }
        let body = state.current.take();
        if let (Some(body), Some(digests)) = (&body, &mut state.digests) {
            digests.update(body.plain());
        }
        let mut result = self.verified(&mut state, trailers.clone())?;
        drop(state);
        result.inline =
            Some(body.map_or_else(Vec::new, |body| body.into_payload(self.blob_key.as_ref())));
        Ok(Some(result))
    }

    /// Polled after the end of the body: queues what is left, and is ready when all stripes are encoded.
    fn processed(self: &Arc<Self>, state: &mut State) -> Result<Option<()>> {
        state.check()?;
        if !self.unspill(state)? {
            return Ok(None);
        }
        if let Some(last) = state.current.take() {
            self.queue(state, last);
        }
        Ok((!state.busy && state.passed_on == state.submitted).then_some(()))
    }

    fn verified(&self, state: &mut State, trailers: Trailers) -> Result<UploadResult> {
        let digests = state
            .digests
            .take()
            .ok_or_else(|| Error::internal("the digests are away"))?;
        let digested = digests.finish();
        digested.verify(&self.options, &trailers)?;
        let mut result = UploadResult {
            size: state.received,
            ..UploadResult::default()
        };
        digested.report(&self.options, &mut result);
        result.trailers = trailers;
        Ok(result)
    }

    /// A blob of one stripe: one write on each member.
    async fn put_all(&self, pg: &Pg, blocks: Vec<Block>) -> Outcome {
        let (report, reports) = mpsc::unbounded_channel();
        let started = Instant::now();
        for ((index, target), block) in (0u8..).zip(self.engine.registry.members(pg)).zip(blocks) {
            let report = report.clone();
            let Some(target) = target else {
                // The receiver lives until `settle` below is done.
                let _ = report.send((index.into(), Err(ShardError::Closed)));
                continue;
            };
            let (key, generation, verdict) = (
                self.shard_key(index),
                pg.generation,
                self.verdict.subscribe(),
            );
            self.engine.spawn(async move {
                let written = target.put(key, generation, block).await;
                let durable = written.is_ok();
                if report.send((index.into(), written)).is_err() && durable {
                    remove_if_failed(&*target, key, generation, verdict).await;
                }
            });
        }
        drop(report);
        settle(
            pg.members.len(),
            pg.write_quorum(),
            self.engine.limits.stall,
            reports,
            |_| started,
        )
        .await
    }

    /// A blob of several stripes: the writers make their shards durable.
    async fn seal_all(&self, pg: &Pg, members: Vec<Member>) -> Outcome {
        let (report, reports) = mpsc::unbounded_channel();
        for (index, member) in members.iter().enumerate() {
            match member.progress.failed() {
                // The receiver lives until `settle` below is done.
                Some(error) => drop(report.send((index, Err(error)))),
                None => member.send(Message::Seal(report.clone())),
            }
        }
        drop(report);
        let moved = |index: usize| members[index].progress.moved();
        let mut outcome = settle(
            members.len(),
            pg.write_quorum(),
            self.engine.limits.stall,
            reports,
            moved,
        )
        .await;
        for (index, error) in &mut outcome.left_out {
            let progress = &members[*index].progress;
            if let Some(reason) = progress.failed() {
                *error = reason;
            }
            progress.leave_out(error.clone());
        }
        outcome
    }

    /// Takes back the shards of a write that did not reach its quorum.
    async fn remove(&self, pg: &Pg, durable: &[usize]) {
        let targets = self.engine.registry.members(pg);
        let removals = durable.iter().filter_map(|index| {
            let target = targets.get(*index)?.clone()?;
            let key = self.shard_key(*index as u8);
            Some(async move { remove(&*target, key, pg.generation).await })
        });
        let all = join_all(removals);
        if tokio::time::timeout(self.engine.limits.stall * 5, all)
            .await
            .is_err()
        {
            tracing::warn!(
                pg = pg.id,
                "shards of a failed upload stay for the collector"
            );
        }
    }
}
