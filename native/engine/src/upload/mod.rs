//! Uploads: bytes come in on any thread, are cut into stripes, and leave as blocks for the members of a placement group.
//!
//! The path of a stripe: [`Upload::write`] fills it, a worker hashes and encodes it ([`process`]), the members' writers
//! take the blocks (`member`), and the end waits for enough of them to be durable (`finish`).

mod digests;
mod finish;
mod member;
mod options;
mod process;
mod settle;
mod stripe;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anvil_body::{AwsChunked, BodyError};
use anvil_codec::aead::{BlobKey, DataKey};
use anvil_codec::rs::Code;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use options::{Checksum, UploadOptions, UploadResult};
pub(crate) use process::process;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::layout::{self, MAX_STRIPE_BYTES, STRIPE_STEP_BYTES};
use crate::memory::{Level, Reservation};
use crate::registry::Pg;
use crate::target::{Block, ShardKey};
use digests::Digests;
use member::{Member, Verdict};
use stripe::{Home, Stripe};

/// An upload takes at most this share of what is free for its stripe, so that a thousand may share a small budget.
const SHARE_UNKNOWN_LENGTH: u64 = 1024;
const SHARE_KNOWN_LENGTH: u64 = 512;
/// Plaintext of one upload that may be hashed, encoded and written at a time.
const IN_FLIGHT_BYTES: usize = 8 << 20;
const IN_FLIGHT_STRIPES: std::ops::RangeInclusive<usize> = 3..=16;

/// Whether the caller may go on feeding an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    /// Stop until [`Upload::drained`] resolves.
    Pause,
}

/// One upload. All methods may be called on any thread.
pub struct Upload {
    engine: Arc<Engine>,
    options: UploadOptions,
    /// None: known to be inline.
    pg: Option<Arc<Pg>>,
    code: Code,
    blob_key: Option<BlobKey>,
    stripe_bytes: usize,
    /// Bytes of a stripe's buffer.
    stripe_capacity: usize,
    home: Arc<Home>,
    verdict: watch::Sender<Option<Verdict>>,
    state: Mutex<State>,
}

struct State {
    failed: Option<Error>,
    /// Nothing more may be written.
    ended: bool,
    decoder: Option<AwsChunked>,
    /// Decoded bytes so far.
    received: u64,
    current: Option<Stripe>,
    /// Bytes of a chunk that came when there was no memory for a further stripe.
    spill: Vec<u8>,
    spill_memory: Option<Reservation>,
    /// Full stripes in order; the number of the next one that leaves this queue; how many were ever put in.
    queue: VecDeque<Stripe>,
    next_job: u64,
    submitted: u64,
    /// A job for this upload is queued or running.
    busy: bool,
    /// Away while a job hashes.
    digests: Option<Digests>,
    /// Encoded ones that wait for an earlier one, and how many have been passed on.
    encoded: BTreeMap<u64, Vec<Block>>,
    passed_on: u64,
    /// Writers of the members, once it is clear that there is more than one stripe.
    members: Vec<Member>,
    /// The blocks of a blob of one stripe.
    single: Option<Vec<Block>>,
}

impl Upload {
    /// Reserves one stripe; SlowDown if it is not to be had.
    pub(crate) fn open(engine: &Arc<Engine>, mut options: UploadOptions) -> Result<Arc<Upload>> {
        let known = options.content_length;
        if known.is_some_and(|length| length > options.max_bytes) {
            return Err(too_large(options.max_bytes));
        }
        let inline =
            known.is_some_and(|length| length == 0 || length <= options.inline_bytes as u64);
        let pg = if inline {
            None
        } else {
            Some(engine.registry.pg(options.pg)?)
        };
        let (k, m) = pg.as_ref().map_or((1, 0), |pg| (pg.k, pg.m));
        let encrypted = options.data_key.is_some();
        let (stripe_bytes, reservation) = reserve_stripe(engine, &options, k, m)?;
        let capacity = reservation.bytes() as usize;
        let decoder = options.decoder.take();
        let digests = Digests::new(&options);
        let blob_key = options
            .data_key
            .map(|key| DataKey::from_bytes(&key).blob_key(&options.blob));
        debug_assert_eq!(encrypted, blob_key.is_some());
        Ok(Arc::new(Upload {
            engine: engine.clone(),
            options,
            pg,
            code: Code::new(k, m),
            blob_key,
            stripe_bytes,
            stripe_capacity: capacity,
            home: Home::new(reservation),
            verdict: watch::Sender::new(None),
            state: Mutex::new(State {
                failed: None,
                ended: false,
                decoder,
                received: 0,
                current: None,
                spill: Vec::new(),
                spill_memory: None,
                queue: VecDeque::new(),
                next_job: 0,
                submitted: 0,
                busy: false,
                digests: Some(digests),
                encoded: BTreeMap::new(),
                passed_on: 0,
                members: Vec::new(),
                single: None,
            }),
        }))
    }

    /// Takes the chunk's bytes; the chunk is free when this returns.
    pub fn write(self: &Arc<Self>, chunk: &[u8]) -> Result<Flow> {
        let mut state = self.state.lock();
        state.check()?;
        if state.ended {
            return Err(Error::internal("a write after the end of the upload"));
        }
        let taken = match state.decoder.take() {
            None => self.append(&mut state, chunk),
            Some(mut decoder) => {
                let mut taken = Ok(());
                let fed = decoder.feed(chunk, &mut |data| {
                    if taken.is_ok() {
                        taken = self.append(&mut state, data);
                    }
                });
                state.decoder = Some(decoder);
                taken.and(fed.map_err(body_error))
            }
        };
        if let Err(error) = taken {
            drop(state);
            self.fail(error.clone());
            return Err(error);
        }
        Ok(
            if state.spill.is_empty() && self.under_way(&state) < self.most_under_way() {
                Flow::Continue
            } else {
                Flow::Pause
            },
        )
    }

    /// Resolves when the upload takes more bytes again.
    pub async fn drained(self: &Arc<Self>) -> Result<()> {
        self.wait_until(|state| {
            state.check()?;
            if !self.unspill(state)? {
                return Ok(None);
            }
            Ok((self.under_way(state) <= self.most_under_way() / 2).then_some(()))
        })
        .await
    }

    /// Gives the upload up: what was written goes, in the background. No error if it is over.
    pub fn abort(&self) {
        self.fail(Error::aborted());
    }

    /// Ends the upload with an error unless it failed before.
    fn fail(&self, error: Error) {
        let leftovers = self.state.lock().fail(error);
        self.home.close();
        self.verdict.send_if_modified(|verdict| {
            verdict.is_none() && verdict.replace(Verdict::Failed).is_none()
        });
        drop(leftovers);
        self.home.changed.notify_waiters();
    }

    /// Polls `ready` whenever something changed, until it gives a value.
    async fn wait_until<T>(
        &self,
        mut ready: impl FnMut(&mut State) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            let changed = self.home.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = ready(&mut self.state.lock())? {
                return Ok(value);
            }
            changed.await;
        }
    }

    fn over(&self) -> bool {
        self.verdict.borrow().is_some()
    }

    /// Stripes that are not being filled any more and still have their memory.
    fn under_way(&self, state: &State) -> usize {
        self.home
            .alive()
            .saturating_sub(usize::from(state.current.is_some()))
    }

    fn most_under_way(&self) -> usize {
        if self.engine.budget.free(Level::Optional) < self.stripe_capacity as u64 {
            return 1;
        }
        (IN_FLIGHT_BYTES / self.stripe_bytes)
            .clamp(*IN_FLIGHT_STRIPES.start(), *IN_FLIGHT_STRIPES.end())
    }

    /// Decoded bytes come in.
    fn append(self: &Arc<Self>, state: &mut State, bytes: &[u8]) -> Result<()> {
        state.received += bytes.len() as u64;
        if state.received > self.options.max_bytes {
            return Err(too_large(self.options.max_bytes));
        }
        if let Some(length) = self.options.content_length
            && state.received > length
        {
            return Err(Error::new(
                Kind::IncompleteBody,
                format!("the body is longer than the {length} bytes announced"),
            ));
        }
        let left = if state.spill.is_empty() {
            self.fill(state, bytes)
        } else {
            bytes
        };
        if left.is_empty() {
            return Ok(());
        }
        let memory = self
            .engine
            .budget
            .reserve(left.len() as u64, Level::Spill)
            .ok_or_else(slow_down)?;
        match &mut state.spill_memory {
            Some(before) => before.absorb(memory),
            none => *none = Some(memory),
        }
        state.spill.extend_from_slice(left);
        Ok(())
    }

    /// Fills stripes for as long as there is memory; what is left over comes back.
    fn fill<'a>(self: &Arc<Self>, state: &mut State, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            let room = state
                .current
                .as_ref()
                .map_or(0, |stripe| self.stripe_bytes - stripe.plain().len());
            if room == 0 {
                if let Some(full) = state.current.take() {
                    self.submit(state, full);
                }
                match self.new_stripe() {
                    Some(stripe) => state.current = Some(stripe),
                    None => return bytes,
                }
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(stripe) = &mut state.current {
                stripe.push(now);
            }
            bytes = later;
        }
        // A first stripe that may be the last waits: a blob of one stripe is written in another way.
        let more_comes = state.submitted > 0
            || self
                .options
                .content_length
                .is_some_and(|length| length > state.received);
        if more_comes
            && state
                .current
                .as_ref()
                .is_some_and(|stripe| stripe.plain().len() == self.stripe_bytes)
            && let Some(full) = state.current.take()
        {
            self.submit(state, full);
        }
        bytes
    }

    fn new_stripe(&self) -> Option<Stripe> {
        let lease = self.home.take().or_else(|| {
            let budget = &self.engine.budget;
            Some(
                self.home
                    .lease(budget.reserve(self.stripe_capacity as u64, Level::Optional)?),
            )
        })?;
        Some(Stripe::new(self.stripe_capacity, lease))
    }

    /// Moves spilled bytes into stripes; true when none are left.
    fn unspill(self: &Arc<Self>, state: &mut State) -> Result<bool> {
        if state.spill.is_empty() {
            return Ok(true);
        }
        let spill = std::mem::take(&mut state.spill);
        let left = self.fill(state, &spill).len();
        if left == 0 {
            state.spill_memory = None;
            return Ok(true);
        }
        let mut spill = spill;
        spill.drain(..spill.len() - left);
        state.spill = spill;
        Ok(false)
    }

    /// A full stripe of several goes to the workers.
    fn submit(self: &Arc<Self>, state: &mut State, stripe: Stripe) {
        if state.submitted == 0 {
            state.members = self.start_members();
        }
        self.queue(state, stripe);
    }

    fn queue(self: &Arc<Self>, state: &mut State, stripe: Stripe) {
        state.submitted += 1;
        state.queue.push_back(stripe);
        if !state.busy {
            state.busy = true;
            self.engine.jobs.push_stripe(self.clone());
        }
    }

    fn start_members(self: &Arc<Self>) -> Vec<Member> {
        let Some(pg) = &self.pg else {
            return Vec::new();
        };
        let block_bytes = layout::block_bytes(
            layout::payload_bytes(self.stripe_bytes, self.blob_key.is_some()),
            pg.k,
        );
        let blocks = self
            .options
            .content_length
            .map(|length| length.div_ceil(self.stripe_bytes as u64) as u32);
        let targets = self.engine.registry.members(pg);
        let members: Vec<Member> = (0u8..)
            .zip(targets)
            .map(|(index, target)| {
                let (key, verdict) = (self.shard_key(index), self.verdict.subscribe());
                Member::start(
                    &self.engine,
                    target,
                    key,
                    pg.generation,
                    blocks,
                    block_bytes,
                    verdict,
                )
            })
            .collect();
        let progress = members
            .iter()
            .map(|member| member.progress.clone())
            .collect();
        let (quorum, stall) = (pg.write_quorum(), self.engine.limits.stall);
        self.engine.spawn(member::leave_out_stalled(
            Arc::downgrade(self),
            progress,
            quorum,
            stall,
        ));
        members
    }

    fn shard_key(&self, index: u8) -> ShardKey {
        ShardKey {
            bucket: self.options.bucket,
            blob: self.options.blob,
            pg: self.options.pg,
            index,
        }
    }
}

/// What a failed upload still held; to be dropped without its lock, since stripes report their release.
type Leftovers = (
    Option<Stripe>,
    VecDeque<Stripe>,
    BTreeMap<u64, Vec<Block>>,
    Vec<Member>,
    Option<Vec<Block>>,
);

impl State {
    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: Error) -> Leftovers {
        self.failed.get_or_insert(error);
        self.spill = Vec::new();
        self.spill_memory = None;
        (
            self.current.take(),
            std::mem::take(&mut self.queue),
            std::mem::take(&mut self.encoded),
            std::mem::take(&mut self.members),
            self.single.take(),
        )
    }
}

/// Chooses the stripe's size from what is known of the body and from what is free, and reserves its buffer.
fn reserve_stripe(
    engine: &Engine,
    options: &UploadOptions,
    k: usize,
    m: usize,
) -> Result<(usize, Reservation)> {
    let encrypted = options.data_key.is_some();
    let free = engine.budget.free(Level::Admission);
    let share = if options.content_length.is_some() {
        SHARE_KNOWN_LENGTH
    } else {
        SHARE_UNKNOWN_LENGTH
    };
    let fair = (free / share) as usize / STRIPE_STEP_BYTES * STRIPE_STEP_BYTES;
    let least = options
        .inline_bytes
        .next_multiple_of(STRIPE_STEP_BYTES)
        .max(STRIPE_STEP_BYTES);
    let fair = fair.clamp(least, MAX_STRIPE_BYTES.max(least));
    let (stripe_bytes, most) = match options.content_length {
        Some(length) if length <= fair as u64 => (
            (length as usize)
                .next_multiple_of(STRIPE_STEP_BYTES)
                .max(STRIPE_STEP_BYTES),
            length as usize,
        ),
        _ => (fair, fair),
    };
    let bytes = layout::stripe_buffer_bytes(most, encrypted, k, m) as u64;
    let reservation = engine
        .budget
        .reserve(bytes, Level::Admission)
        .ok_or_else(slow_down)?;
    Ok((stripe_bytes, reservation))
}

fn slow_down() -> Error {
    Error::new(Kind::SlowDown, "no memory for a further stripe now")
}

fn too_large(max: u64) -> Error {
    Error::new(
        Kind::EntityTooLarge,
        format!("the body is longer than {max} bytes"),
    )
}

fn body_error(error: BodyError) -> Error {
    let kind = match error {
        BodyError::MalformedChunk => Kind::MalformedChunk,
        BodyError::MalformedTrailer => Kind::MalformedTrailer,
        BodyError::SignatureMismatch => Kind::SignatureDoesNotMatch,
        BodyError::Incomplete => Kind::IncompleteBody,
    };
    Error::new(kind, error.to_string())
}
