//! GB/s on one core of everything the codec does: `cargo run --release --example throughput -p anvil-codec`.
//!
//! Buffers stay in the cache, as a stripe under work does. Each figure is the best of several short runs.

use std::hint::black_box;
use std::time::Duration;

use anvil_codec::hash::{Algorithm, FastDigest, Hasher, update_many};
use anvil_codec::{aead, crc, hash, rs};
use rustix::time::{ClockId, clock_gettime};

const RUN: Duration = Duration::from_millis(40);
const RUNS: usize = 5;
const BLOCK_BYTES: usize = 64 * 1024;

fn main() {
    println!("kernels: {}", anvil_codec::features().join(", "));
    let data: Vec<Vec<u8>> = (0..64u8).map(|i| vec![i; BLOCK_BYTES]).collect();
    reed_solomon(&data);
    hashes(&data);
    for algorithm in [
        crc::Algorithm::Crc32,
        crc::Algorithm::Crc32c,
        crc::Algorithm::Crc64Nvme,
    ] {
        report(&format!("{algorithm:?}"), BLOCK_BYTES, || {
            black_box(crc::checksum(algorithm, &data[1]));
        });
    }
    encryption();
}

fn reed_solomon(data: &[Vec<u8>]) {
    for kernel in rs::Kernel::available() {
        for (k, m) in [(1, 1), (2, 2), (4, 2), (8, 3)] {
            let code = rs::Code::with_kernel(k, m, kernel);
            let sources: Vec<&[u8]> = data[..k].iter().map(Vec::as_slice).collect();
            let mut parity = vec![vec![0; BLOCK_BYTES]; m];
            report(
                &format!("reed-solomon {k}+{m} encode, {}", kernel.name()),
                k * BLOCK_BYTES,
                || {
                    code.encode(
                        &sources,
                        &mut parity.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
                    );
                },
            );
            let present: Vec<(usize, &[u8])> = sources[m.min(k)..]
                .iter()
                .enumerate()
                .map(|(i, block)| (m.min(k) + i, *block))
                .collect();
            let parity_blocks: Vec<(usize, &[u8])> =
                (k..).zip(parity.iter().map(Vec::as_slice)).collect();
            let present = [present, parity_blocks].concat();
            let mut lost = vec![vec![0; BLOCK_BYTES]; m.min(k)];
            report(
                &format!(
                    "reed-solomon {k}+{m} rebuild of {}, {}",
                    m.min(k),
                    kernel.name()
                ),
                k * BLOCK_BYTES,
                || {
                    let mut wanted: Vec<(usize, &mut [u8])> =
                        lost.iter_mut().map(Vec::as_mut_slice).enumerate().collect();
                    code.reconstruct(&present, &mut wanted)
                        .expect("k blocks are present");
                },
            );
        }
    }
}

fn hashes(data: &[Vec<u8>]) {
    for algorithm in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256] {
        report(&format!("{algorithm:?} one stream"), BLOCK_BYTES, || {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&data[1]);
            black_box(hasher.finish());
        });
    }
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        for streams in [2, 3, 4, 6, 8, 12, 16, 24, 32, 64] {
            let mut hashers = vec![Hasher::new(algorithm); streams];
            report(
                &format!("{algorithm:?} {streams} streams"),
                streams * BLOCK_BYTES,
                || {
                    let mut work: Vec<(&mut Hasher, &[u8])> = hashers
                        .iter_mut()
                        .zip(data.iter().map(Vec::as_slice))
                        .collect();
                    update_many(&mut work);
                },
            );
        }
    }
    for (algorithm, kernel, lanes) in hash::lane_kernels() {
        for streams in [2, 3, 4, 6, 8, 12, 16, 32] {
            let mut hashers = vec![Hasher::new(algorithm); streams];
            if streams <= lanes {
                report(
                    &format!("{algorithm:?} {streams} streams forced {kernel}"),
                    streams * BLOCK_BYTES,
                    || {
                        let mut work: Vec<(&mut Hasher, &[u8])> = hashers
                            .iter_mut()
                            .zip(data.iter().map(Vec::as_slice))
                            .collect();
                        hash::update_many_with(kernel, &mut work);
                    },
                );
            }
        }
    }
    let mut both = [Algorithm::Md5, Algorithm::Sha256].map(Hasher::new);
    report("Md5 and Sha256 of one stream", BLOCK_BYTES, || {
        let mut work: Vec<(&mut Hasher, &[u8])> = both
            .iter_mut()
            .map(|hasher| (hasher, &data[1][..]))
            .collect();
        update_many(&mut work);
    });
    report("FastDigest", BLOCK_BYTES, || {
        let mut digest = FastDigest::new();
        digest.update(&data[1]);
        black_box(digest.finish());
    });
}

fn encryption() {
    let key = aead::DataKey::from_bytes(&[1; 32]);
    let mut unit = vec![0; aead::AEAD_UNIT_BYTES];
    let blob_key = key.blob_key(&[2; 16]);
    report("AES-256-GCM seal, key derived before", unit.len(), || {
        black_box(blob_key.seal(0, &mut unit));
    });
    report("AES-256-GCM seal, key derived per unit", unit.len(), || {
        black_box(aead::seal(&key, &[2; 16], 0, &mut unit));
    });
}

fn report(what: &str, bytes: usize, mut work: impl FnMut()) {
    work();
    let mut best: f64 = 0.0;
    for _ in 0..RUNS {
        let start = cpu_time();
        let mut times = 0u32;
        while cpu_time() - start < RUN {
            work();
            times += 1;
        }
        best = best.max(f64::from(times) * bytes as f64 / (cpu_time() - start).as_secs_f64() / 1e9);
    }
    println!("{what:<48} {best:7.2} GB/s");
}

/// Of this thread, so that other work on the host does not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
