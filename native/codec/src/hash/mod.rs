//! MD5, SHA-1 and SHA-256 of streams, alone or many side by side.
//!
//! One stream of MD5 cannot go faster than its chain of dependent additions, but many streams can share a core: a vector
//! register holds the same word of 8 or 16 of them. [`update_many`] is that scheduler. A [`Hasher`] keeps the raw chaining
//! value between calls, so a stream may be fed alone now and in a lane the next time.

mod digest;
mod fast;
mod lanes;
mod md5;
#[cfg(target_arch = "x86_64")]
mod md5_avx2;
#[cfg(target_arch = "x86_64")]
mod md5_avx512;
#[cfg(target_arch = "x86_64")]
mod ordering;
mod sha256;
#[cfg(target_arch = "x86_64")]
mod sha256_avx512;
#[cfg(target_arch = "x86_64")]
mod sha256_ni;
mod stream;
#[cfg(target_arch = "x86_64")]
mod transpose;

use aws_lc_rs::{digest as aws, hmac};

pub use digest::Digest;
pub use fast::FastDigest;

use lanes::Job;
use md5::Md5;
use sha256::Sha256;
use stream::{BlockHash, Stream};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 1321. For ETags and Content-MD5; no protection against an adversary.
    Md5,
    /// FIPS 180-4. For `x-amz-checksum-sha1`.
    Sha1,
    /// FIPS 180-4.
    Sha256,
}

impl Algorithm {
    /// Length of a digest in bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }
}

/// A hash under way. Any split of the input into chunks gives the same digest.
#[derive(Clone)]
pub struct Hasher {
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Md5(Stream<Md5, 4>),
    Sha1(Box<aws::Context>),
    Sha256(Stream<Sha256, 8>),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Hasher {
        let inner = match algorithm {
            Algorithm::Md5 => Inner::Md5(Stream::new()),
            Algorithm::Sha1 => {
                Inner::Sha1(Box::new(aws::Context::new(&aws::SHA1_FOR_LEGACY_USE_ONLY)))
            }
            Algorithm::Sha256 => Inner::Sha256(Stream::new()),
        };
        Hasher { inner }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.inner {
            Inner::Md5(_) => Algorithm::Md5,
            Inner::Sha1(_) => Algorithm::Sha1,
            Inner::Sha256(_) => Algorithm::Sha256,
        }
    }

    pub fn update(&mut self, data: &[u8]) {
        match &mut self.inner {
            Inner::Md5(stream) => stream.update(data),
            Inner::Sha1(context) => context.update(data),
            Inner::Sha256(stream) => stream.update(data),
        }
    }

    pub fn finish(self) -> Digest {
        match self.inner {
            Inner::Md5(stream) => Digest::new(&stream.finish()),
            Inner::Sha1(context) => Digest::new(context.finish().as_ref()),
            Inner::Sha256(stream) => Digest::new(&stream.finish()),
        }
    }
}

/// The digest of `data`.
pub fn digest(algorithm: Algorithm, data: &[u8]) -> Digest {
    match algorithm {
        Algorithm::Md5 => {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(data);
            hasher.finish()
        }
        Algorithm::Sha1 => Digest::new(aws::digest(&aws::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref()),
        Algorithm::Sha256 => Digest::new(aws::digest(&aws::SHA256, data).as_ref()),
    }
}

/// Feeds each hasher its slice, side by side where that is faster: the same as calling [`Hasher::update`] one by one.
///
/// Algorithms may be mixed and slices may differ in length; a lane that runs dry takes up the next stream. The gain comes
/// with streams of one algorithm and of some KiB each.
pub fn update_many(work: &mut [(&mut Hasher, &[u8])]) {
    let (mut md5, mut sha256) = jobs(work);
    if let ([md5], [sha256]) = (&mut md5[..], &mut sha256[..]) {
        lanes::alternate::<Md5, Sha256, 4, 8>(md5, sha256);
    }
    lanes::run::<Md5, 4>(Md5::lane_kernels(), md5);
    lanes::run::<Sha256, 8>(Sha256::lane_kernels(), sha256);
}

/// [`update_many`] with one kernel of [`lane_kernels`], however few the streams; without it for other algorithms. For
/// tests and measurements.
pub fn update_many_with(kernel: &str, work: &mut [(&mut Hasher, &[u8])]) {
    let (md5, sha256) = jobs(work);
    lanes::run::<Md5, 4>(&lanes::forced(Md5::lane_kernels(), kernel), md5);
    lanes::run::<Sha256, 8>(&lanes::forced(Sha256::lane_kernels(), kernel), sha256);
}

/// The kernels for many streams that this processor offers: algorithm, name, and how many streams it takes.
pub fn lane_kernels() -> Vec<(Algorithm, &'static str, usize)> {
    let md5 = Md5::lane_kernels()
        .iter()
        .map(|kernel| (Algorithm::Md5, kernel.name, kernel.lanes));
    let sha256 = Sha256::lane_kernels()
        .iter()
        .map(|kernel| (Algorithm::Sha256, kernel.name, kernel.lanes));
    md5.chain(sha256).collect()
}

/// Takes up all slices; what is left are whole blocks of MD5 and SHA-256.
fn jobs<'a>(work: &'a mut [(&mut Hasher, &[u8])]) -> (Vec<Job<'a, 4>>, Vec<Job<'a, 8>>) {
    let (mut md5, mut sha256) = (Vec::new(), Vec::new());
    for (hasher, data) in work {
        match &mut hasher.inner {
            Inner::Md5(stream) => md5.extend(stream.job(data)),
            Inner::Sha1(context) => context.update(data),
            Inner::Sha256(stream) => sha256.extend(stream.job(data)),
        }
    }
    (md5, sha256)
}

/// HMAC-SHA-256 (RFC 2104).
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    tag.as_ref()
        .try_into()
        .expect("an HMAC-SHA-256 tag has 32 bytes")
}

/// The widest kernel in use for many streams of `algorithm`.
pub fn kernel_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => lanes::widest(Md5::lane_kernels()),
        Algorithm::Sha1 => "scalar",
        Algorithm::Sha256 => lanes::widest(Sha256::lane_kernels()),
    }
}

#[cfg(test)]
mod tests;
