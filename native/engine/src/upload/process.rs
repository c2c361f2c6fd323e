//! What a worker does with stripes: hash them side by side, then encode each and pass its blocks on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anvil_codec::hash::{self, Hasher};

use super::Upload;
use super::digests::Digests;
use crate::engine::Engine;
use crate::error::Error;
use crate::layout;
use crate::target::Block;
use crate::write::{Floor, Message, Stripe};

/// One upload's stripe while it is in a worker's hands.
struct Lane {
    upload: Arc<Upload>,
    number: u64,
    stripe: Stripe,
    digests: Digests,
}

/// Processes the next stripe of each upload. Returns how many stripes there were. A panic fails these uploads.
pub(crate) fn process(engine: &Engine, uploads: Vec<Arc<Upload>>) -> usize {
    let concerned = uploads.clone();
    match catch_unwind(AssertUnwindSafe(|| process_lanes(engine, uploads))) {
        Ok(stripes) => stripes,
        Err(panic) => {
            let error = Error::from_panic(panic);
            tracing::error!(%error, "a stripe could not be processed");
            for upload in concerned {
                upload.fail(error.clone());
            }
            0
        }
    }
}

fn process_lanes(engine: &Engine, uploads: Vec<Arc<Upload>>) -> usize {
    let mut lanes: Vec<Lane> = uploads
        .into_iter()
        .filter_map(Upload::next_stripe)
        .collect();
    let count = lanes.len();
    hash_side_by_side(engine, &mut lanes);
    let mut hashed = Vec::with_capacity(count);
    for mut lane in lanes {
        let verified = lane.digests.verify_chunks();
        lane.upload.hashed(lane.digests);
        match verified {
            Ok(()) => hashed.push((lane.upload, lane.number, lane.stripe)),
            Err(error) => lane.upload.fail(error),
        }
    }
    for (upload, number, stripe) in hashed {
        upload.encode(number, stripe);
    }
    count
}

fn hash_side_by_side(engine: &Engine, lanes: &mut [Lane]) {
    let mut work: Vec<(&mut Hasher, &[u8])> = Vec::with_capacity(lanes.len());
    let mut bytes = 0;
    for lane in lanes {
        let plain = lane.stripe.plain();
        lane.digests.update_fast_ones(plain);
        let first = work.len();
        work.extend(lane.digests.lanes(plain));
        bytes += work[first..]
            .iter()
            .map(|(_, piece)| piece.len())
            .sum::<usize>();
    }
    if !work.is_empty() {
        let stats = &engine.counters;
        stats.hashed_bytes.fetch_add(bytes as u64, Relaxed);
        stats.hash_calls.fetch_add(1, Relaxed);
        stats.hash_lanes.fetch_add(work.len() as u64, Relaxed);
        hash::update_many(&mut work);
    }
}

impl Upload {
    /// Takes the next stripe and the digests out of an upload.
    fn next_stripe(self: Arc<Self>) -> Option<Lane> {
        let mut state = self.state.lock();
        let (Some(stripe), None) = (state.queue.pop_front(), &state.failed) else {
            state.busy = false;
            drop(state);
            self.home.changed.notify_waiters();
            return None;
        };
        let number = state.next_job;
        state.next_job += 1;
        let mut digests = state.digests.take()?;
        digests.look_at(state.decoder.as_mut());
        drop(state);
        Some(Lane {
            upload: self,
            number,
            stripe,
            digests,
        })
    }

    /// The digests are back; the next stripe may be hashed while this one is encoded.
    fn hashed(self: &Arc<Self>, digests: Digests) {
        let mut state = self.state.lock();
        state.digests = Some(digests);
        if state.queue.is_empty() {
            state.busy = false;
        } else {
            self.engine.jobs.push_stripe(self.clone());
        }
    }

    fn encode(self: &Arc<Self>, number: u64, stripe: Stripe) {
        let first_unit = layout::first_unit(number, self.stripe_bytes);
        let blocks = stripe.encode(&self.code, self.blob_key.as_ref(), first_unit);
        if let Err((error, unused)) = self.pass_on(number, blocks) {
            drop(unused);
            self.fail(error);
        }
        self.home.changed.notify_waiters();
    }

    /// Hands blocks to the members' writers in the order of the stripes. What a failed upload has no use for comes back.
    fn pass_on(&self, number: u64, blocks: Vec<Block>) -> Result<(), (Error, Vec<Block>)> {
        let mut state = self.state.lock();
        if let Some(error) = &state.failed {
            return Err((error.clone(), blocks));
        }
        if state.members.is_empty() {
            state.single = Some(blocks);
            state.passed_on += 1;
            return Ok(());
        }
        if let Some(error) = self
            .writer
            .as_ref()
            .and_then(|writer| writer.hopeless(&state.members, Floor::Readable))
        {
            return Err((error, blocks));
        }
        state.encoded.insert(number, blocks);
        loop {
            let next = state.passed_on;
            let Some(blocks) = state.encoded.remove(&next) else {
                return Ok(());
            };
            state.passed_on += 1;
            for (member, block) in state.members.iter().zip(blocks) {
                member.send(Message::Append(block));
            }
        }
    }
}
