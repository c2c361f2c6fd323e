//! Gets pieces of one stripe: from their members when they answer well and soon, otherwise rebuilt from any k others.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::source::Source;
use crate::error::{Error, Kind, Result};
use crate::id::hex;
use crate::layout::Piece;
use crate::memory::{Level, Reservation};
use crate::target::{ShardError, ShardResult};

/// A member's answer.
struct Answer {
    member: usize,
    range: Range<usize>,
    result: ShardResult<Bytes>,
    took: Duration,
}

/// A request under way.
struct Asked {
    member: usize,
    range: Range<usize>,
    /// Has taken longer than the hedge.
    slow: bool,
}

struct Fetch {
    source: Arc<Source>,
    stripe: u64,
    pieces: Vec<Piece>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    asked: Vec<Asked>,
    have: Vec<(usize, Range<usize>, Bytes)>,
    /// Members that gave no good bytes for this stripe. Bit i is member i.
    dead: u64,
    /// The range that is rebuilt, once that is needed, and the memory for it.
    recovery: Option<(Range<usize>, Option<Reservation>)>,
}

/// The bytes of `pieces`, in order. A piece of a member that is in `without` is rebuilt from others.
pub(crate) async fn fetch(
    source: &Arc<Source>,
    stripe: u64,
    pieces: Vec<Piece>,
    without: u64,
) -> Result<Vec<Bytes>> {
    let fetch = Fetch {
        source: source.clone(),
        stripe,
        pieces,
        answers: FuturesUnordered::new(),
        asked: Vec::new(),
        have: Vec::new(),
        dead: without,
        recovery: None,
    };
    let limit = source.engine.limits.read;
    match tokio::time::timeout(limit, fetch.run()).await {
        Ok(bytes) => bytes,
        Err(_) => Err(Error::new(
            Kind::ShardsUnavailable,
            format!(
                "stripe {stripe} could not be read within {} s",
                limit.as_secs()
            ),
        )),
    }
}

impl Fetch {
    async fn run(mut self) -> Result<Vec<Bytes>> {
        for number in 0..self.pieces.len() {
            let piece = self.pieces[number].clone();
            if self.is_dead(piece.member) || self.source.avoids(piece.member) {
                continue;
            }
            self.ask(piece.member, piece.range);
        }
        let hedge = self
            .source
            .engine
            .latency
            .hedge_after(self.source.engine.limits.hedge_min);
        let mut overtake_at = Instant::now() + hedge;
        loop {
            if let Some(bytes) = self.direct() {
                return Ok(bytes);
            }
            if self.recovery.is_none() && self.must_recover() {
                self.start_recovery().await?;
            }
            if let Some((range, _)) = &self.recovery {
                let range = range.clone();
                let sources = self.sources(&range);
                if sources.len() >= self.source.pg.k {
                    return self.rebuilt(range, sources).await;
                }
                if self.ask_more(&range, sources.len()) {
                    overtake_at = Instant::now() + hedge;
                }
            }
            if self.answers.is_empty() {
                return Err(self.unavailable());
            }
            tokio::select! {
                Some(answer) = self.answers.next() => self.take(answer)?,
                () = tokio::time::sleep_until(overtake_at) => {
                    self.asked.iter_mut().for_each(|asked| asked.slow = true);
                    overtake_at = Instant::now() + hedge;
                }
            }
        }
    }

    fn is_dead(&self, member: usize) -> bool {
        self.dead & 1 << member != 0
    }

    /// Sends a request; a member that is not reachable is dead at once.
    fn ask(&mut self, member: usize, range: Range<usize>) {
        let Some(target) = &self.source.targets[member] else {
            self.dead |= 1 << member;
            self.source.failed(member, &ShardError::Closed);
            return;
        };
        let (offset, len) = (range.start as u32, range.len() as u32);
        let reading = target.read(
            self.source.shard_key(member),
            self.source.pg.generation,
            self.stripe as u32,
            offset,
            len,
        );
        let asked = range.clone();
        let started = Instant::now();
        self.answers.push(Box::pin(async move {
            let result = reading.await;
            Answer {
                member,
                range: asked,
                result,
                took: started.elapsed(),
            }
        }));
        self.asked.push(Asked {
            member,
            range,
            slow: false,
        });
    }

    fn take(&mut self, answer: Answer) -> Result<()> {
        self.asked
            .retain(|asked| asked.member != answer.member || asked.range != answer.range);
        match answer.result {
            Ok(bytes) if bytes.len() == answer.range.len() => {
                self.source.engine.latency.record(answer.took);
                self.have.push((answer.member, answer.range, bytes));
            }
            Ok(bytes) => {
                let text = format!("{} of {} bytes came", bytes.len(), answer.range.len());
                self.gone(answer.member, &ShardError::Io(text));
            }
            Err(ShardError::Stale { current }) => {
                let text = format!(
                    "member {} knows generation {current} of the placement group",
                    answer.member
                );
                return Err(Error::new(Kind::Moved, text));
            }
            Err(error) => self.gone(answer.member, &error),
        }
        Ok(())
    }

    fn gone(&mut self, member: usize, error: &ShardError) {
        tracing::debug!(
            request = self.source.request.as_ref().map(display),
            blob = %hex(&self.source.shard_key(member).blob),
            member,
            stripe = self.stripe,
            %error,
            "a member gave no good bytes"
        );
        self.dead |= 1 << member;
        self.source.failed(member, error);
    }

    fn held(&self, member: usize, range: &Range<usize>) -> Option<Bytes> {
        self.have
            .iter()
            .find(|(from, held, _)| {
                *from == member && held.start <= range.start && held.end >= range.end
            })
            .map(|(_, held, bytes)| bytes.slice(range.start - held.start..range.end - held.start))
    }

    fn direct(&self) -> Option<Vec<Bytes>> {
        self.pieces
            .iter()
            .map(|piece| self.held(piece.member, &piece.range))
            .collect()
    }

    /// Whether a piece is missing that is not on its way, or too slowly.
    fn must_recover(&self) -> bool {
        self.pieces.iter().any(|piece| {
            self.held(piece.member, &piece.range).is_none()
                && !self.asked.iter().any(|asked| {
                    asked.member == piece.member && asked.range == piece.range && !asked.slow
                })
        })
    }

    async fn start_recovery(&mut self) -> Result<()> {
        let start = self
            .pieces
            .iter()
            .map(|piece| piece.range.start)
            .min()
            .unwrap_or(0);
        let end = self
            .pieces
            .iter()
            .map(|piece| piece.range.end)
            .max()
            .unwrap_or(0);
        self.source
            .engine
            .counters
            .degraded_reads
            .fetch_add(1, Relaxed);
        for asked in self.asked.iter().filter(|asked| asked.slow) {
            self.source.avoid(asked.member);
        }
        let bytes = (end - start) as u64 * self.source.pg.k as u64;
        let memory = loop {
            match self.source.engine.budget.reserve(bytes, Level::Extra) {
                Some(memory) => break memory,
                // Whoever holds it is being written or sent; `fetch` bounds the wait.
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        };
        self.recovery = Some((start..end, Some(memory)));
        Ok(())
    }

    /// Blocks that the rebuild can use.
    fn sources(&self, range: &Range<usize>) -> Vec<(usize, Bytes)> {
        let members = 0..self.source.targets.len();
        members
            .filter_map(|member| Some((member, self.held(member, range)?)))
            .collect()
    }

    /// Asks so many further members that, with those that answer in time, there will be k. True if any was asked.
    fn ask_more(&mut self, range: &Range<usize>, sources: usize) -> bool {
        let covers =
            |asked: &Asked| asked.range.start <= range.start && asked.range.end >= range.end;
        let coming = self
            .asked
            .iter()
            .filter(|asked| covers(asked) && !asked.slow)
            .count();
        let mut wanted = self.source.pg.k.saturating_sub(sources + coming);
        let k = self.source.pg.k;
        let all = self.source.targets.len();
        // Parity first: the data members are the ones that were asked before. Of these the drives of this host, which cost
        // no network. Avoided ones are the last resort.
        let mut members: Vec<usize> = (k..all).chain(0..k).collect();
        members.sort_by_key(|member| (self.source.avoids(*member), !self.source.is_local(*member)));
        let mut any = false;
        for member in members {
            if wanted == 0 {
                break;
            }
            let known = self.is_dead(member)
                || self.held(member, range).is_some()
                || self
                    .asked
                    .iter()
                    .any(|asked| asked.member == member && covers(asked));
            if known {
                continue;
            }
            self.ask(member, range.clone());
            if !self.is_dead(member) {
                wanted -= 1;
                any = true;
            }
        }
        any
    }

    async fn rebuilt(
        self,
        range: Range<usize>,
        sources: Vec<(usize, Bytes)>,
    ) -> Result<Vec<Bytes>> {
        let mut missing: Vec<usize> = Vec::new();
        for piece in &self.pieces {
            if self.held(piece.member, &piece.range).is_none() && !missing.contains(&piece.member) {
                missing.push(piece.member);
            }
        }
        let code = self.source.code.clone();
        let (wanted, len) = (missing.clone(), range.len());
        let rebuilt = self
            .source
            .engine
            .job(move || {
                let present: Vec<(usize, &[u8])> = sources
                    .iter()
                    .map(|(member, bytes)| (*member, &bytes[..]))
                    .collect();
                let mut blocks: Vec<Vec<u8>> = wanted.iter().map(|_| vec![0; len]).collect();
                let mut out: Vec<(usize, &mut [u8])> = wanted
                    .iter()
                    .copied()
                    .zip(blocks.iter_mut().map(Vec::as_mut_slice))
                    .collect();
                code.reconstruct(&present, &mut out).map(|()| blocks)
            })
            .await?
            .map_err(|error| Error::internal(error.to_string()))?;
        let rebuilt: Vec<Bytes> = rebuilt.into_iter().map(Bytes::from).collect();
        let pieces = self.pieces.iter().map(|piece| {
            let held = self.held(piece.member, &piece.range);
            held.or_else(|| {
                let place = missing.iter().position(|member| *member == piece.member)?;
                Some(
                    rebuilt[place]
                        .slice(piece.range.start - range.start..piece.range.end - range.start),
                )
            })
        });
        pieces
            .collect::<Option<Vec<Bytes>>>()
            .ok_or_else(|| Error::internal("a rebuilt stripe lacks a piece"))
    }

    fn unavailable(&self) -> Error {
        let good = self
            .have
            .iter()
            .fold(0u64, |set, (member, ..)| set | 1 << member)
            .count_ones();
        Error::new(
            Kind::ShardsUnavailable,
            format!(
                "{good} shards of at least {} could be read in placement group {}",
                self.source.pg.k, self.source.pg.id
            ),
        )
    }
}
