use super::*;
use ::md5::Digest as _;
use proptest::prelude::*;

const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256];

fn reference(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Md5 => ::md5::Md5::digest(data).to_vec(),
        Algorithm::Sha1 => aws::digest(&aws::SHA1_FOR_LEGACY_USE_ONLY, data)
            .as_ref()
            .to_vec(),
        Algorithm::Sha256 => aws::digest(&aws::SHA256, data).as_ref().to_vec(),
    }
}

#[test]
fn published_vectors() {
    // RFC 1321, appendix A.5; FIPS 180-4 examples.
    let vectors = [
        (Algorithm::Md5, "", "d41d8cd98f00b204e9800998ecf8427e"),
        (Algorithm::Md5, "abc", "900150983cd24fb0d6963f7d28e17f72"),
        (
            Algorithm::Md5,
            "message digest",
            "f96b697d7cb7938d525a2f31aaf161d0",
        ),
        (
            Algorithm::Md5,
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
        (
            Algorithm::Sha1,
            "abc",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
        ),
        (
            Algorithm::Sha256,
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            Algorithm::Sha256,
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            Algorithm::Sha256,
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ];
    for (algorithm, message, expected) in vectors {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(message.as_bytes());
        assert_eq!(
            hasher.finish().to_hex(),
            expected,
            "{algorithm:?} of {message:?}"
        );
        assert_eq!(digest(algorithm, message.as_bytes()).to_hex(), expected);
    }
}

#[test]
fn hmac_vectors_of_rfc_4231() {
    let tag = Digest::new(&hmac_sha256(b"Jefe", b"what do ya want for nothing?"));
    assert_eq!(
        tag.to_hex(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    let tag = Digest::new(&hmac_sha256(
        &[0xaa; 131],
        b"Test Using Larger Than Block-Size Key - Hash Key First",
    ));
    assert_eq!(
        tag.to_hex(),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

#[test]
fn fast_digest_is_truncated_blake3() {
    let mut fast = FastDigest::new();
    assert_eq!(
        Digest::new(&fast.finish()).to_hex(),
        "af1349b9f5f9a1a6a0404dea36dcc949"
    );
    fast.update(b"ab");
    fast.update(b"c");
    assert_eq!(
        Digest::new(&fast.finish()).to_hex(),
        "6437b3ac38465133ffb63b75273a8db5"
    );
}

#[test]
fn every_length_around_the_block_border() {
    let message: Vec<u8> = (0..200u8).collect();
    for length in 0..message.len() {
        for algorithm in ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&message[..length]);
            assert_eq!(
                *hasher.finish(),
                reference(algorithm, &message[..length]),
                "{algorithm:?} of {length} bytes"
            );
        }
    }
}

#[test]
fn one_md5_beside_one_sha256() {
    let data: Vec<u8> = (0..=255).cycle().take(1000).collect();
    for (md5_bytes, sha256_bytes) in [
        (1000, 1000),
        (1000, 70),
        (64, 999),
        (0, 500),
        (500, 0),
        (63, 64),
    ] {
        let [mut md5, mut sha256] = [Algorithm::Md5, Algorithm::Sha256].map(Hasher::new);
        for _ in 0..2 {
            update_many(&mut [
                (&mut sha256, &data[..sha256_bytes]),
                (&mut md5, &data[..md5_bytes]),
            ]);
        }
        assert_eq!(
            *md5.finish(),
            reference(Algorithm::Md5, &data[..md5_bytes].repeat(2))
        );
        assert_eq!(
            *sha256.finish(),
            reference(Algorithm::Sha256, &data[..sha256_bytes].repeat(2))
        );
    }
}

/// Streams of random lengths, fed in random chunks. In each step every stream takes some bytes: one by one, together, or
/// together with one certain kernel.
#[derive(Debug, Clone)]
struct Script {
    streams: Vec<(Algorithm, Vec<u8>)>,
    steps: Vec<(Mode, Vec<u16>)>,
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    OneByOne,
    Together,
    Kernel(&'static str),
}

fn mode() -> impl Strategy<Value = Mode> {
    let kernels = lane_kernels()
        .into_iter()
        .map(|(_, name, _)| Mode::Kernel(name));
    prop::sample::select(
        [Mode::OneByOne, Mode::Together]
            .into_iter()
            .chain(kernels)
            .collect::<Vec<_>>(),
    )
}

fn script() -> impl Strategy<Value = Script> {
    let algorithm = prop::sample::select(&ALL[..]);
    let byte = |i: usize, seed: u8| (i as u8).wrapping_mul(31) ^ seed ^ (i >> 8) as u8;
    let stream =
        (algorithm, 0..6000usize, any::<u8>()).prop_map(move |(algorithm, length, seed)| {
            (algorithm, (0..length).map(|i| byte(i, seed)).collect())
        });
    let step = (mode(), prop::collection::vec(0..3000u16, 1..9));
    let steps = prop::collection::vec(step, 0..8);
    (prop::collection::vec(stream, 0..90), steps)
        .prop_map(|(streams, steps)| Script { streams, steps })
}

fn feed(mode: Mode, work: &mut [(&mut Hasher, &[u8])]) {
    match mode {
        Mode::OneByOne => work
            .iter_mut()
            .for_each(|(hasher, chunk)| hasher.update(chunk)),
        Mode::Together => update_many(work),
        Mode::Kernel(name) => update_many_with(name, work),
    }
}

/// Every kernel with every number of streams it takes, and a few more.
#[test]
fn every_kernel_equals_the_reference() {
    let data: Vec<Vec<u8>> = (0..40u8)
        .map(|i| vec![i; 64 * (1 + usize::from(i) % 5) + usize::from(i)])
        .collect();
    for (algorithm, name, lanes) in lane_kernels() {
        for streams in 1..=lanes + 3 {
            let mut hashers = vec![Hasher::new(algorithm); streams];
            let mut work: Vec<_> = hashers
                .iter_mut()
                .zip(data.iter().map(Vec::as_slice))
                .collect();
            feed(Mode::Kernel(name), &mut work);
            for (hasher, data) in hashers.into_iter().zip(&data) {
                assert_eq!(
                    *hasher.finish(),
                    reference(algorithm, data),
                    "{algorithm:?}, {name}, {streams} streams"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn streams_may_change_between_lanes_and_alone(script in script()) {
        let mut hashers: Vec<(Hasher, &[u8])> =
            script.streams.iter().map(|(algorithm, data)| (Hasher::new(*algorithm), &data[..])).collect();
        let rest = (Mode::Together, vec![u16::MAX]);
        for (mode, lengths) in script.steps.iter().chain([&rest]) {
            let mut work = Vec::new();
            for (i, (hasher, data)) in hashers.iter_mut().enumerate() {
                let (chunk, after) = data.split_at(data.len().min(usize::from(lengths[i % lengths.len()])));
                *data = after;
                work.push((hasher, chunk));
            }
            feed(*mode, &mut work);
        }
        for ((hasher, _), (algorithm, data)) in hashers.into_iter().zip(&script.streams) {
            prop_assert_eq!(hasher.finish().to_vec(), reference(*algorithm, data));
        }
    }
}
