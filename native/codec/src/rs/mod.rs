//! Systematic Reed-Solomon erasure codes over GF(2^8).
//!
//! A stripe has k data blocks and m parity blocks of one length; any k of them give back the others. Blocks 0..k are the
//! data, k..k+m the parity. The construction is in `matrix.rs`.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod field;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod kernel;
mod matrix;
mod scalar;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use kernel::Coefficients;
pub use kernel::Kernel;
use matrix::Matrix;

/// Most data blocks of a code.
pub const MAX_K: usize = 32;
/// Most parity blocks of a code.
pub const MAX_M: usize = 16;

/// Decoding matrices kept per code; beyond, all are dropped and made anew on demand.
const CACHED_DECODERS: usize = 1024;

/// Fewer than k different blocks are present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEnough {
    pub present: usize,
    pub needed: usize,
}

impl fmt::Display for NotEnough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blocks of a stripe are present, {} are needed",
            self.present, self.needed
        )
    }
}

impl std::error::Error for NotEnough {}

/// The erasure code k+m. Clones share their tables.
#[derive(Clone)]
pub struct Code {
    shared: Arc<Shared>,
}

struct Shared {
    k: usize,
    m: usize,
    generator: Matrix,
    encoder: Option<Coefficients>,
    decoders: RwLock<HashMap<DecoderKey, Arc<Coefficients>>>,
    kernel: Kernel,
}

/// Bit i stands for block i: which k blocks are read, and which are computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct DecoderKey {
    from: u64,
    to: u64,
}

impl Code {
    /// # Panics
    /// Unless 1 <= k <= [`MAX_K`] and m <= [`MAX_M`].
    pub fn new(k: usize, m: usize) -> Code {
        static CODES: OnceLock<Mutex<HashMap<(usize, usize), Code>>> = OnceLock::new();
        let mut codes = CODES.get_or_init(Mutex::default).lock();
        codes
            .entry((k, m))
            .or_insert_with(|| Code::with_kernel(k, m, Kernel::detected()))
            .clone()
    }

    /// [`Code::new`] with a certain kernel, and tables of its own. For tests and measurements.
    ///
    /// # Panics
    /// Also if the processor lacks it.
    pub fn with_kernel(k: usize, m: usize, kernel: Kernel) -> Code {
        assert!(
            (1..=MAX_K).contains(&k) && m <= MAX_M,
            "no such erasure code: {k}+{m}"
        );
        assert!(kernel.is_available());
        let generator = Matrix::generator(k, m);
        let encoder = (m > 0).then(|| Coefficients::new(&generator.select_rows(k..k + m)));
        Code {
            shared: Arc::new(Shared {
                k,
                m,
                generator,
                encoder,
                decoders: RwLock::default(),
                kernel,
            }),
        }
    }

    /// Data blocks of a stripe.
    pub fn k(&self) -> usize {
        self.shared.k
    }

    /// Parity blocks of a stripe: how many may be lost.
    pub fn m(&self) -> usize {
        self.shared.m
    }

    /// Computes the m parity blocks of k data blocks. What `parity` held before does not matter.
    ///
    /// # Panics
    /// If there are not k and m blocks, all of one length.
    pub fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        assert_eq!(
            (data.len(), parity.len()),
            (self.k(), self.m()),
            "blocks of a stripe of {self:?}"
        );
        if let Some(encoder) = &self.shared.encoder {
            encoder.multiply(self.shared.kernel, data, parity);
        }
    }

    /// Computes the `wanted` blocks (data or parity, by index) from those that are `present`, also by index. The first k
    /// different ones of `present` are read, so put those first that are to be used.
    ///
    /// # Panics
    /// If an index is not below k + m, a block is wanted twice, or lengths differ.
    pub fn reconstruct(
        &self,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), NotEnough> {
        let mut sources: Vec<(usize, &[u8])> = Vec::with_capacity(self.k());
        let mut from = 0u64;
        for &(index, block) in present {
            if sources.len() < self.k() && from & self.bit(index) == 0 {
                from |= self.bit(index);
                sources.push((index, block));
            }
        }
        if sources.len() < self.k() {
            return Err(NotEnough {
                present: sources.len(),
                needed: self.k(),
            });
        }
        if wanted.is_empty() {
            return Ok(());
        }
        sources.sort_unstable_by_key(|&(index, _)| index);
        wanted.sort_unstable_by_key(|&(index, _)| index);
        let to = wanted.iter().fold(0, |to, &(index, _)| {
            assert_eq!(to & self.bit(index), 0, "block {index} is wanted twice");
            to | self.bit(index)
        });
        let sources: Vec<&[u8]> = sources.into_iter().map(|(_, block)| block).collect();
        let mut out: Vec<&mut [u8]> = wanted.iter_mut().map(|(_, block)| &mut **block).collect();
        self.decoder(DecoderKey { from, to })
            .multiply(self.shared.kernel, &sources, &mut out);
        Ok(())
    }

    fn bit(&self, index: usize) -> u64 {
        assert!(index < self.k() + self.m(), "{self:?} has no block {index}");
        1 << index
    }

    fn decoder(&self, key: DecoderKey) -> Arc<Coefficients> {
        if let Some(decoder) = self.shared.decoders.read().get(&key) {
            return decoder.clone();
        }
        let generator = &self.shared.generator;
        let inverse = generator
            .select_rows(indexes(key.from).into_iter())
            .invert();
        let inverse = inverse.expect("any k rows of the generator are independent");
        let wanted = generator.select_rows(indexes(key.to).into_iter());
        let decoder = Arc::new(Coefficients::new(&wanted.multiply(&inverse)));
        let mut decoders = self.shared.decoders.write();
        if decoders.len() >= CACHED_DECODERS {
            decoders.clear();
        }
        decoders.insert(key, decoder.clone());
        decoder
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k(), self.m())
    }
}

/// The kernel in use: `gfni-avx512`, `avx2` or `scalar`.
pub fn kernel_name() -> &'static str {
    Kernel::detected().name()
}

fn indexes(bits: u64) -> Vec<usize> {
    (0..u64::BITS as usize)
        .filter(|&index| bits >> index & 1 == 1)
        .collect()
}

#[cfg(test)]
mod tests;
