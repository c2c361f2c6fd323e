//! The buffer of one stripe and the memory that it stands for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use anvil_codec::UNIT_BYTES;
use anvil_codec::aead::BlobKey;
use anvil_codec::crc;
use anvil_codec::rs::Code;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::layout;
use crate::memory::Reservation;
use crate::small::seal_units;
use crate::target::Block;
use anvil_store::buffers::{Buffer, Buffers};

/// Where an upload's memory comes home to: the reservation that it was admitted with returns here and not to the budget,
/// so that nobody can take it between two stripes.
pub(crate) struct Home {
    /// None: the upload is over, everything goes back to the budget.
    guarantee: Mutex<Option<Guarantee>>,
    /// Stripe buffers alive: being filled, hashed, encoded or written.
    alive: AtomicUsize,
    /// A buffer was released, or a job went on.
    pub(crate) changed: Notify,
    buffers: Arc<Buffers>,
}

/// The reservation, or None while a stripe has it.
type Guarantee = Option<Reservation>;

impl Home {
    pub(crate) fn new(buffers: &Arc<Buffers>, reservation: Reservation) -> Arc<Home> {
        Arc::new(Home {
            buffers: buffers.clone(),
            guarantee: Mutex::new(Some(Some(reservation))),
            alive: AtomicUsize::new(0),
            changed: Notify::new(),
        })
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(SeqCst)
    }

    /// The upload is over: what comes back goes to the budget.
    pub(crate) fn close(&self) {
        let guarantee = self.guarantee.lock().take();
        drop(guarantee);
    }

    /// A lease on the guaranteed reservation, if no other stripe has it.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Lease> {
        let reservation = self.guarantee.lock().as_mut()?.take()?;
        Some(self.lease(reservation))
    }

    /// A lease on the guaranteed reservation, once no other stripe has it.
    pub(crate) async fn wait(self: &Arc<Self>) -> Lease {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(lease) = self.take() {
                return lease;
            }
            changed.await;
        }
    }

    /// A lease on memory taken beyond the guarantee.
    pub(crate) fn lease(self: &Arc<Self>, reservation: Reservation) -> Lease {
        self.alive.fetch_add(1, SeqCst);
        Lease {
            home: self.clone(),
            reservation: Some(reservation),
        }
    }
}

/// The memory of one stripe buffer. Dropping it takes no lock but the home's own, so any thread may do it.
pub(crate) struct Lease {
    home: Arc<Home>,
    reservation: Option<Reservation>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(slot) = self.home.guarantee.lock().as_mut()
            && slot.is_none()
        {
            *slot = self.reservation.take();
        }
        drop(self.reservation.take());
        self.home.alive.fetch_sub(1, SeqCst);
        self.home.changed.notify_waiters();
    }
}

/// A stripe: first plaintext, then payload, then its k + m blocks, all in one allocation.
pub(crate) struct Stripe {
    /// What lies behind `filled` is of an earlier stripe.
    data: Buffer,
    filled: usize,
    /// After `data`: the memory is free before the budget says so.
    _lease: Lease,
}

impl Stripe {
    /// `capacity`: bytes of all of its blocks.
    pub(crate) fn new(capacity: usize, lease: Lease) -> Stripe {
        Stripe {
            data: lease.home.buffers.take(capacity),
            filled: 0,
            _lease: lease,
        }
    }

    pub(crate) fn plain(&self) -> &[u8] {
        &self.data[..self.filled]
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        self.data[self.filled..end].copy_from_slice(bytes);
        self.filled = end;
    }

    /// Plaintext becomes payload.
    fn seal(&mut self, key: Option<&BlobKey>, first_unit: u64) {
        if let Some(key) = key {
            let end = layout::payload_bytes(self.filled, true);
            let (plain, tags) = self.data[..end].split_at_mut(self.filled);
            seal_units(plain, tags, key, first_unit);
            self.filled = end;
        }
    }

    /// The plaintext as stored inline: ciphertext and tags, or as it is.
    pub(crate) fn into_payload(mut self, key: Option<&BlobKey>) -> Vec<u8> {
        self.seal(key, 0);
        self.plain().to_vec()
    }

    /// A buffer that already holds a payload, for [`Stripe::encode`] without a key.
    pub(crate) fn of_payload(capacity: usize, lease: Lease, slices: &[Bytes]) -> Stripe {
        let mut stripe = Stripe::new(capacity, lease);
        for slice in slices {
            stripe.push(slice);
        }
        stripe
    }

    /// Encrypts if asked, pads, adds parity and checksums: one block per member. `first_unit` is the AEAD number of the
    /// stripe's first unit.
    pub(crate) fn encode(
        mut self,
        code: &Code,
        key: Option<&BlobKey>,
        first_unit: u64,
    ) -> Vec<Block> {
        self.seal(key, first_unit);
        let (k, members) = (code.k(), code.k() + code.m());
        let block_bytes = layout::block_bytes(self.filled, k);
        self.data[self.filled..block_bytes * k].fill(0);
        self.filled = block_bytes * members;
        let (data, parity) = self.data[..self.filled].split_at_mut(block_bytes * k);
        let mut crcs: Vec<Vec<u32>> = (0..members)
            .map(|_| Vec::with_capacity(block_bytes.div_ceil(UNIT_BYTES)))
            .collect();
        // Unit by unit, so that the checksums find in the cache what the code has just read and written.
        for start in (0..block_bytes).step_by(UNIT_BYTES) {
            let unit = start..(start + UNIT_BYTES).min(block_bytes);
            let data: Vec<&[u8]> = data
                .chunks_exact(block_bytes)
                .map(|block| &block[unit.clone()])
                .collect();
            let mut parity: Vec<&mut [u8]> = parity
                .chunks_exact_mut(block_bytes)
                .map(|block| &mut block[unit.clone()])
                .collect();
            if !parity.is_empty() {
                code.encode(&data, &mut parity);
            }
            let units = data.into_iter().chain(parity.iter().map(|unit| &**unit));
            for (crcs, unit) in crcs.iter_mut().zip(units) {
                crcs.push(crc::crc32c(unit));
            }
        }
        let crcs = crcs.into_iter().map(Vec::into_boxed_slice);
        let whole = Bytes::from_owner(self);
        crcs.enumerate()
            .map(|(index, crcs)| Block {
                data: whole.slice(index * block_bytes..(index + 1) * block_bytes),
                crcs,
            })
            .collect()
    }
}

impl AsRef<[u8]> for Stripe {
    fn as_ref(&self) -> &[u8] {
        &self.data[..self.filled]
    }
}
