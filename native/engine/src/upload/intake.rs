//! How bytes become stripes: filling, the memory for the next one, and what spills when there is none (`spill`).

use std::sync::Arc;

use super::{State, Upload, slow_down, too_large};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::layout::{self, MAX_STRIPE_BYTES, STRIPE_STEP_BYTES};
use crate::memory::{Level, Reservation};
use crate::upload::UploadOptions;
use crate::write::{Member, Stripe};
use anvil_store::buffers;

/// An upload takes at most this share of what is free for its stripe, so that a thousand may share a small budget.
const SHARE_UNKNOWN_LENGTH: u64 = 1024;
const SHARE_KNOWN_LENGTH: u64 = 512;

impl Upload {
    /// Decoded bytes come in.
    pub(super) fn append(self: &Arc<Self>, state: &mut State, bytes: &[u8]) -> Result<()> {
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
            self.fill(state, bytes)?
        } else {
            bytes
        };
        if !left.is_empty() {
            let Engine {
                buffers, budget, ..
            } = &*self.engine;
            state.spill.push(left, buffers, budget);
        }
        Ok(())
    }

    /// Fills stripes for as long as there is memory; what is left over comes back.
    fn fill<'a>(self: &Arc<Self>, state: &mut State, mut bytes: &'a [u8]) -> Result<&'a [u8]> {
        while !bytes.is_empty() {
            let room = state
                .current
                .as_ref()
                .map_or(0, |stripe| self.stripe_bytes - stripe.plain().len());
            if room == 0 {
                if let Some(full) = state.current.take() {
                    self.submit(state, full)?;
                }
                match self.new_stripe() {
                    Some(stripe) => state.current = Some(stripe),
                    None => return Ok(bytes),
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
            self.submit(state, full)?;
        }
        Ok(bytes)
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
    pub(super) fn unspill(self: &Arc<Self>, state: &mut State) -> Result<bool> {
        if state.spill.is_empty() {
            return Ok(true);
        }
        let mut spill = std::mem::take(&mut state.spill);
        let filled: Result<()> =
            spill.drain(|bytes| Ok(bytes.len() - self.fill(state, bytes)?.len()));
        state.spill = spill;
        filled?;
        Ok(state.spill.is_empty())
    }

    /// A full stripe of several goes to the workers.
    fn submit(self: &Arc<Self>, state: &mut State, stripe: Stripe) -> Result<()> {
        if state.submitted == 0 {
            state.members = self.start_members()?;
        }
        self.queue(state, stripe);
        Ok(())
    }

    pub(super) fn queue(self: &Arc<Self>, state: &mut State, stripe: Stripe) {
        state.submitted += 1;
        state.queue.push_back(stripe);
        if !state.busy {
            state.busy = true;
            self.engine.jobs.push_stripe(self.clone());
        }
    }

    fn start_members(&self) -> Result<Vec<Member>> {
        let writer = self.writer()?;
        let payload = layout::payload_bytes(self.stripe_bytes, self.blob_key.is_some());
        let block_bytes = layout::block_bytes(payload, writer.pg.k);
        let stripes = |length: u64| length.div_ceil(self.stripe_bytes as u64) as u32;
        Ok(writer.start_members(self.options.content_length.map(stripes), block_bytes))
    }
}

/// Chooses the stripe's size from what is known of the body and from what is free, and reserves its buffer.
pub(super) fn reserve_stripe(
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
    let bytes = buffers::size(layout::stripe_buffer_bytes(most, encrypted, k, m)) as u64;
    let reservation = engine
        .budget
        .reserve(bytes, Level::Admission)
        .ok_or_else(slow_down)?;
    Ok((stripe_bytes, reservation))
}
