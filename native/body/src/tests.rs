use anvil_codec::hash::{self, Algorithm};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::signature::hex;
use crate::*;

const AMZ_DATE: &str = "20130524T000000Z";
const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";

/// The example credentials of AWS's documentation.
fn signing(seed: &str) -> ChunkSigning {
    let key = ["20130524", "us-east-1", "s3", "aws4_request"].iter().fold(
        b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec(),
        |key, part| hash::hmac_sha256(&key, part.as_bytes()).to_vec(),
    );
    let seed_signature = ChunkSigning::parse_seed(seed).unwrap();
    ChunkSigning {
        signing_key: key,
        seed_signature,
        amz_date: AMZ_DATE.into(),
        scope: SCOPE.into(),
    }
}

type Decoded = Result<(Vec<u8>, Vec<(String, String)>), BodyError>;

/// Feeds `body` cut at `cuts` (sorted offsets), and does the same again with the hashes of all chunks, and of the larger
/// ones, deferred.
fn decode(options: AwsChunkedOptions, body: &[u8], cuts: &[usize]) -> Decoded {
    let decoded = decode_at_once(options.clone(), body, cuts);
    for least_bytes in [1, 100] {
        let deferred = decode_deferred(options.clone(), body, cuts, least_bytes);
        // Of several errors another one may be found first.
        assert_eq!(deferred.as_ref().ok(), decoded.as_ref().ok());
    }
    decoded
}

/// The payload is hashed in pieces that have nothing to do with the chunks, once there is enough of it.
fn decode_deferred(
    options: AwsChunkedOptions,
    body: &[u8],
    cuts: &[usize],
    least_bytes: u64,
) -> Decoded {
    let mut decoder = AwsChunked::new(options);
    let mut hashes = decoder.defer(least_bytes);
    let (mut payload, mut hashed, mut from) = (Vec::new(), 0, 0);
    let mut hash = |decoder: &mut AwsChunked, new: &[u8]| {
        let Some(hashes) = &mut hashes else {
            return Ok(());
        };
        hashes.add(decoder.take_deferred());
        for (hasher, piece) in hashes.cut(new) {
            hasher.update(piece);
        }
        hashes.verify()
    };
    for &to in cuts.iter().chain([&body.len()]) {
        decoder.feed(&body[from..to], &mut |data| payload.extend_from_slice(data))?;
        from = to;
        if payload.len() - hashed > 333 {
            hash(&mut decoder, &payload[hashed..])?;
            hashed = payload.len();
        }
    }
    hash(&mut decoder, &payload[hashed..])?;
    let trailers = decoder.finish()?;
    hashes.map_or(Ok(()), |mut hashes| hashes.finish())?;
    Ok((payload, trailers))
}

fn decode_at_once(options: AwsChunkedOptions, body: &[u8], cuts: &[usize]) -> Decoded {
    let mut decoder = AwsChunked::new(options);
    let mut payload = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&body.len()]) {
        decoder.feed(&body[from..to], &mut |data| payload.extend_from_slice(data))?;
        from = to;
    }
    decoder.finish().map(|trailers| (payload, trailers))
}

/// A signing client: writes `payload` in chunks of `chunk_bytes`, as each of the four kinds.
fn encode(
    options: &AwsChunkedOptions,
    payload: &[u8],
    chunk_bytes: usize,
    trailers: &[(&str, &str)],
) -> Vec<u8> {
    let mut previous = options
        .signing
        .as_ref()
        .map(|signing| hex(&signing.seed_signature));
    let mut sign = |kind: &str, last: String| {
        let (signing, previous) = (options.signing.as_ref()?, previous.as_mut()?);
        let text = format!(
            "{kind}\n{}\n{}\n{previous}\n{last}",
            signing.amz_date, signing.scope
        );
        *previous = hex(&hash::hmac_sha256(&signing.signing_key, text.as_bytes()));
        Some(previous.clone())
    };
    let mut body = Vec::new();
    for chunk in payload.chunks(chunk_bytes).chain([&[][..]]) {
        let nothing = hash::digest(Algorithm::Sha256, b"");
        let signature = sign(
            "AWS4-HMAC-SHA256-PAYLOAD",
            format!("{nothing}\n{}", hash::digest(Algorithm::Sha256, chunk)),
        );
        let extension = signature
            .map(|digits| format!(";chunk-signature={digits}"))
            .unwrap_or_default();
        body.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        if !chunk.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
    }
    if options.trailers.is_some() {
        let lines: String = trailers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        body.extend_from_slice(lines.replace('\n', "\r\n").as_bytes());
        let signed = sign(
            "AWS4-HMAC-SHA256-TRAILER",
            hash::digest(Algorithm::Sha256, lines.as_bytes()).to_hex(),
        );
        if let Some(signature) = signed {
            body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
    }
    body.extend_from_slice(b"\r\n");
    body
}

/// "Example: PUT Object" of AWS's page on chunked uploads: 66560 bytes of `a`, in chunks of 64 KiB.
fn documented_body() -> Vec<u8> {
    [
        &b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"[..],
        &[b'a'; 65536],
        b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
        &[b'a'; 1024],
        b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
    ]
    .concat()
}

fn documented_options() -> AwsChunkedOptions {
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    AwsChunkedOptions {
        signing: Some(signing(seed)),
        trailers: None,
    }
}

#[test]
fn documented_signed_chunks() {
    let (payload, trailers) = decode(documented_options(), &documented_body(), &[]).unwrap();
    assert!(
        payload.len() == 66560 && payload.iter().all(|&byte| byte == b'a') && trailers.is_empty()
    );
}

#[test]
fn a_changed_byte_breaks_the_chain() {
    let body = documented_body();
    for at in [24, 30000, 65626 + 41, body.len() - 10] {
        let mut bad = body.clone();
        bad[at] ^= 1;
        assert_eq!(
            decode(documented_options(), &bad, &[]),
            Err(BodyError::SignatureMismatch),
            "byte {at}"
        );
    }
}

/// The signature of the last chunk, of one in the middle, a chunk that is cut off, one that is left out.
#[test]
fn deferred_hashes_vouch_for_every_chunk() {
    let body = documented_body();
    let (second, last) = (65_626, body.len() - 86);
    let mut bad_middle = body.clone();
    bad_middle[second + 25] ^= 1;
    let mut bad_last = body.clone();
    bad_last[last + 19] ^= 1;
    let mut bad_payload = body.clone();
    bad_payload[second + 500] ^= 1;
    let left_out = [&body[..second], &body[last..]].concat();
    for (bad, expected) in [
        (&bad_middle[..], BodyError::SignatureMismatch),
        (&bad_last, BodyError::SignatureMismatch),
        (&bad_payload, BodyError::SignatureMismatch),
        (&left_out, BodyError::SignatureMismatch),
        (&body[..second], BodyError::Incomplete),
        (&body[..second + 600], BodyError::Incomplete),
        (&body[..last], BodyError::Incomplete),
    ] {
        for least_bytes in [1, 10_000] {
            let decoded = decode_deferred(documented_options(), bad, &[40_000], least_bytes);
            assert_eq!(decoded, Err(expected));
        }
    }
}

/// The same page's example with trailing headers; with the documentation's line ends, and with those of the SDKs.
#[test]
fn documented_signed_trailers() {
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    for (after_trailer, value, expected) in [
        ("\n\r\n", "sOO8/Q==", Ok(())),
        ("\r\n", "sOO8/Q==", Ok(())),
        ("\r\n", "sOO8/A==", Err(BodyError::SignatureMismatch)),
    ] {
        let body = [
            &b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"[..],
            &[b'a'; 65536],
            b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n",
            &[b'a'; 1024],
            b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n",
            format!("x-amz-checksum-crc32c:{value}{after_trailer}").as_bytes(),
            b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
        ]
        .concat();
        let options = AwsChunkedOptions {
            signing: Some(signing(seed)),
            trailers: Some(vec!["x-amz-checksum-crc32c".into()]),
        };
        assert_eq!(decode(options, &body, &[]).map(|_| ()), expected);
    }
}

fn unsigned(announced: &[&str]) -> AwsChunkedOptions {
    let names = announced.iter().map(|&name| name.to_owned()).collect();
    AwsChunkedOptions {
        signing: None,
        trailers: Some(names),
    }
}

#[test]
fn unsigned_trailers_as_clients_write_them() {
    let bodies = [
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Amz-Checksum-Crc32: NhCmhg== \r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
    ];
    let expected = (
        b"hello".to_vec(),
        vec![("x-amz-checksum-crc32".to_owned(), "NhCmhg==".to_owned())],
    );
    for body in bodies {
        let decoded = decode(unsigned(&["x-amz-checksum-crc32"]), body.as_bytes(), &[]);
        assert_eq!(decoded.as_ref(), Ok(&expected), "{body:?}");
    }
}

#[test]
fn refused_bodies() {
    use BodyError::*;
    let cases = [
        ("", Incomplete),
        ("5\r\nhello\r\n", Incomplete),
        ("5\r\nhel", Incomplete),
        ("0\r\n", Incomplete),
        ("0\r\na:1", Incomplete),
        ("0\r\na:1\r\n", Incomplete),
        ("0\r\n\r\n", MalformedTrailer), // announced, but not sent
        ("0\r\nb:1\r\n\r\n", MalformedTrailer),
        ("0\r\na:1\r\na:1\r\n\r\n", MalformedTrailer),
        ("0\r\na:1\r\n\r\nx", Incomplete),
        ("0\r\na:1\r\n\r\nx\r\n", MalformedTrailer),
        ("0\r\na\r\n\r\n", MalformedTrailer),
        ("0\r\n:1\r\n\r\n", MalformedTrailer),
        ("0\r\na b:1\r\n\r\n", MalformedTrailer),
        ("0\r\na:\u{1}\r\n\r\n", MalformedTrailer),
        ("5\r\nhelloo\r\n0\r\n", MalformedChunk),
        ("5\nhello\r\n", MalformedChunk),
        ("g\r\n", MalformedChunk),
    ];
    for (body, error) in cases {
        assert_eq!(
            decode(unsigned(&["a"]), body.as_bytes(), &[]),
            Err(error),
            "{body:?}"
        );
    }
    let plain = AwsChunkedOptions::default;
    assert_eq!(decode(plain(), b"0\r\n\r\n", &[]), Ok((vec![], vec![])));
    assert_eq!(decode(plain(), b"0\r\n\r\n1", &[]), Err(MalformedChunk));
    assert_eq!(decode(plain(), b"0\r\na:1\r\n", &[]), Err(MalformedChunk));
    assert_eq!(
        decode(documented_options(), b"0\r\n\r\n", &[]),
        Err(MalformedChunk),
        "not signed"
    );
}

#[test]
fn decoders_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<AwsChunked>();
}

#[test]
fn errors_stay() {
    let mut decoder = AwsChunked::new(AwsChunkedOptions::default());
    assert_eq!(
        decoder.feed(b"?\r\n", &mut |_| ()),
        Err(BodyError::MalformedChunk)
    );
    assert_eq!(
        decoder.feed(b"0\r\n\r\n", &mut |_| ()),
        Err(BodyError::MalformedChunk)
    );
    assert_eq!(decoder.finish(), Err(BodyError::MalformedChunk));
}

#[test]
fn memory_is_bounded() {
    let mut decoder = AwsChunked::new(unsigned(&[]));
    decoder.feed(b"0\r\n", &mut |_| ()).unwrap();
    let line = [b'a'; 1000];
    let fed = (0..)
        .take_while(|_| decoder.feed(&line, &mut |_| ()).is_ok())
        .count();
    assert_eq!(fed, TRAILER_SECTION_MAX_BYTES / line.len());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let shown = format!("{:?}", documented_options());
    assert!(shown.contains(SCOPE) && !shown.contains("signing_key"));
}

fn options(signed: bool, trailer: bool) -> AwsChunkedOptions {
    AwsChunkedOptions {
        signing: signed.then(|| signing(&"5e".repeat(32))),
        trailers: trailer.then(|| vec!["x-amz-checksum-sha1".into(), "x-amz-meta-b".into()]),
    }
}

const TRAILERS: [(&str, &str); 2] = [
    ("x-amz-meta-b", "two words"),
    ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
];

fn sorted(cuts: &[Index], length: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_split_gives_the_payload(
        payload in prop::collection::vec(any::<u8>(), 0..2000), chunk_bytes in 1..700usize, signed: bool, trailer: bool,
        cuts in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let body = encode(&options(signed, trailer), &payload, chunk_bytes, &TRAILERS);
        let trailers = if trailer { TRAILERS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec() } else { vec![] };
        let expected = Ok((payload, trailers));
        prop_assert_eq!(&decode(options(signed, trailer), &body, &sorted(&cuts, body.len())), &expected);
        let every_byte: Vec<usize> = (0..body.len()).collect();
        prop_assert_eq!(&decode(options(signed, trailer), &body, &every_byte), &expected);
    }

    #[test]
    fn damage_is_never_taken_for_the_payload(
        payload in prop::collection::vec(any::<u8>(), 1..300), chunk_bytes in 1..200usize, trailer: bool,
        at in any::<Index>(), flip in 1..=255u8, cuts in prop::collection::vec(any::<Index>(), 0..5), truncate: bool,
    ) {
        let mut body = encode(&options(true, trailer), &payload, chunk_bytes, &TRAILERS);
        if truncate {
            body.truncate(at.index(body.len()));
        } else {
            let at = at.index(body.len());
            body[at] ^= flip;
        }
        // Letter case of hexadecimal digits and names, and blanks, may change without harm.
        if let Ok((decoded, _)) = decode(options(true, trailer), &body, &sorted(&cuts, body.len())) {
            prop_assert_eq!(decoded, payload);
        }
    }

    #[test]
    fn nonsense_gives_the_same_answer_however_it_is_split(
        body in "[0-3;:a\r\n-]{0,60}", signed: bool, trailer: bool, cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let options = || AwsChunkedOptions { trailers: trailer.then(Vec::new), ..options(signed, false) };
        let whole = decode(options(), body.as_bytes(), &[]);
        prop_assert_eq!(decode(options(), body.as_bytes(), &sorted(&cuts, body.len())), whole);
    }
}
