//! Uploads: bytes come in on any thread, are cut into stripes, and leave as blocks for the members of a placement group.
//!
//! The path of a stripe: [`Upload::write`] fills it, a worker hashes and encodes it ([`process`]), the members' writers
//! take the blocks (`member`), and the end waits for enough of them to be durable (`finish`).

mod digests;
mod finish;
mod intake;
mod options;
mod process;
mod spill;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anvil_body::{AwsChunked, BodyError};
use anvil_codec::aead::{BlobKey, DataKey};
use anvil_codec::rs::Code;
use parking_lot::Mutex;

pub use options::{Checksum, UploadOptions, UploadResult};
pub(crate) use process::process;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::memory::Level;
use crate::target::Block;
use crate::write::{BlobWriter, Home, Member, OnFailure, Stripe};
use digests::Digests;
use intake::reserve_stripe;
use spill::Spill;

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
    writer: Option<BlobWriter>,
    code: Code,
    blob_key: Option<BlobKey>,
    stripe_bytes: usize,
    /// Bytes of a stripe's buffer.
    stripe_capacity: usize,
    home: Arc<Home>,
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
    spill: Spill,
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
        let writer = if inline {
            None
        } else {
            let pg = engine.registry.pg(options.pg)?;
            let request = options.request.clone();
            Some(BlobWriter::open(
                engine,
                pg,
                options.bucket,
                options.blob,
                request,
                OnFailure::Remove,
            )?)
        };
        let (k, m) = writer
            .as_ref()
            .map_or((1, 0), |writer| (writer.pg.k, writer.pg.m));
        let (stripe_bytes, reservation) = reserve_stripe(engine, &options, k, m)?;
        let capacity = reservation.bytes() as usize;
        let mut decoder = options.decoder.take();
        let digests = Digests::new(&options, decoder.as_mut());
        let blob_key = options
            .data_key
            .map(|key| DataKey::from_bytes(&key).blob_key(&options.blob));
        Ok(Arc::new(Upload {
            engine: engine.clone(),
            options,
            writer,
            code: Code::new(k, m),
            blob_key,
            stripe_bytes,
            stripe_capacity: capacity,
            home: Home::new(&engine.buffers, reservation),
            state: Mutex::new(State {
                failed: None,
                ended: false,
                decoder,
                received: 0,
                current: None,
                spill: Spill::default(),
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

    /// Takes the chunk's bytes; the chunk is free when this returns. What was already on its way may still be written after
    /// [`Flow::Pause`].
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
        let drained = self
            .wait_until(|state| {
                state.check()?;
                if !self.unspill(state)? {
                    return Ok(None);
                }
                Ok((self.under_way(state) <= self.most_under_way() / 2).then_some(()))
            })
            .await;
        // Bytes that were taken may be lost by now: nothing may follow them.
        drained.inspect_err(|error| self.fail(error.clone()))
    }

    /// Gives the upload up: what was written goes, in the background. No error if it is over.
    pub fn abort(&self) {
        self.fail(Error::aborted());
    }

    /// Ends the upload with an error unless it failed before.
    fn fail(&self, error: Error) {
        let leftovers = self.state.lock().fail(error);
        self.home.close();
        if let Some(writer) = &self.writer {
            writer.give_up();
        }
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

    fn writer(&self) -> Result<&BlobWriter> {
        self.writer
            .as_ref()
            .ok_or_else(|| Error::internal("a body for drives without a placement group"))
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
}

/// What a failed upload still held; to be dropped without its lock, since stripes report their release.
type Leftovers = (
    Spill,
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
        (
            std::mem::take(&mut self.spill),
            self.current.take(),
            std::mem::take(&mut self.queue),
            std::mem::take(&mut self.encoded),
            std::mem::take(&mut self.members),
            self.single.take(),
        )
    }
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
