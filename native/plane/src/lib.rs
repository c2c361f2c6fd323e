//! The shard plane: shards to and from the drives of other nodes over QUIC, and the one UDP port that a node has for peers.
//!
//! [`Plane`] is the way in. It makes drives of peers into [`ShardTarget`](anvil_engine::target::ShardTarget)s of the engine's
//! registry (`client`), serves the drives that are open in this process (`serve`), and relays what does not carry its mark to
//! the libp2p listener (`socket`). All bounds stand in [`limits`].
//!
//! # The port
//!
//! Every connection id of the plane begins with the bytes `a7 6e 76 4c`: the dialler's first destination id, and the ids that
//! either side gives out. By them a datagram is quinn's; any other goes to the relay. The relay opens an entry, with a loopback
//! socket of its own, for an address that sends an Initial of QUIC of at least 1200 bytes; how many, how fast and for how long
//! is told in `socket/admission.rs`.
//!
//! # The connection
//!
//! QUIC version 1, TLS 1.3, ALPN `anvil-shards`. Both sides show their libp2p identity key (Ed25519) as a raw public key
//! (RFC 7250); the dialler takes no key but the one that its peer id names. Each node dials those that it asks: a
//! connection carries the requests of its dialler only. On its first bidirectional stream the dialler sends `Hello`, the
//! listener answers `Welcome` or `Refused`, and both end the stream. Until then the listener allows that one stream and 16 KiB.
//!
//! A proof is the HMAC-SHA256, keyed with the cluster secret, of
//! `"anvil shard plane proof 1" | role (0 dialler, 1 listener) | exporter | dialler's key | listener's key | deployment | region |
//! process`, each text with its length (u32) in front, where the exporter is 32 bytes of TLS exporter output for the label
//! `EXPORTER-anvil-shard-plane` and no context, and the process is that of the side that proves. The first secret is proven,
//! any listed one is accepted.
//!
//! The dialler pings every 300 ms. From a peer that was silent for a second nothing more is expected: it is reported as not
//! answering, what is read from it fails, new requests fail at once, and a new connection is tried with back-off. A connection
//! without any datagram for 4 s is over.
//!
//! # Frames
//!
//! A frame is a length (u32, of what follows, at most 256 KiB) and a body: a kind (u8) and fields. Integers are little-endian.
//! Texts are a length (u32, at most 512) and UTF-8; lists a count (u32, at most 4096) and items. A key is bucket (u64), blob
//! (16 bytes), placement group (u64) and index (u8). Sums are the length of the data that follow the frame (u32, at most
//! 16 MiB) and their CRC-32C (u32) for each 32 KiB. A result is a code (u8): 0 done, 1 not found, 2 corrupt, 3 stale (with
//! the generation that the drive knows, u64), 4 full, 5 drive failed (text), 6 I/O error (text), 7 not open, 8 stalled,
//! 9 out of reach (text).
//!
//! | kind | frame | fields |
//! |---|---|---|
//! | 1 | Hello | version (u16), oldest version understood (u16), deployment, region, process, proof (32 bytes) |
//! | 2 | Welcome | version to speak (u16), process, proof |
//! | 3 | Refused | 1 version, 2 deployment, 3 region, 4 secret (u8) |
//! | 16 | Begin | drive (16 bytes), key, generation (u64), number of blocks (u32, all ones: not known), bytes of a block (u32) |
//! | 17 | Block | sums; then the data |
//! | 18 | Seal | |
//! | 19 | Puts | drive |
//! | 20 | Put | number (u64), key, generation, sums; then the data |
//! | 21 | Read | drive, key, generation, block (u32), offset (u32), length (u32) |
//! | 22 | Delete | drive, list of key and generation |
//! | 23 | Has | drive, list of keys |
//! | 24 | Request | text of 1 to 64 visible ASCII characters (from version 2 on) |
//! | 32 | Done | result |
//! | 33 | PutDone | number, result |
//! | 34 | Bytes | length (u32), CRC-32C of all (u32); then the data |
//! | 35 | Held | list of 0 or 1 (u8) |
//!
//! # Requests
//!
//! Each on a bidirectional stream of its own, by its first frame:
//!
//! - `Begin`, then `Block`s, then `Seal` and the stream's end: one shard. A `Done` for each block in order, when it is with the
//!   drive, and one for the seal, when the shard is durable. The first `Done` with an error is the last. A stream that
//!   is reset, or ends without a seal, or whose connection is lost, gives the shard up: nothing of it stays.
//! - `Puts`, then any number of `Put`s: shards of one block, each durable when its `PutDone` comes, in any order. Small shards
//!   of all blobs for one drive share a stream.
//! - `Read`: `Bytes`, or `Done` with an error.
//! - `Delete`s and `Has`es, one after the other: `Done` for each removal, `Held` for each question, or `Done` with an error.
//!
//! A `Request` in front of a `Begin`, a `Read` or a `Put` names the client's request that it is for: the receiver names it in
//! its log where that fails or takes long. Version 1 does not know it; to a peer that speaks only that none is sent.
//!
//! The receiver verifies data before it uses them. A drive refuses a generation below the highest that it was told, so late
//! removals and writes of a mover do nothing (DESIGN §13, rule 5). Only drives that are open in the asked process are served;
//! nothing is passed on.
//!
//! # Back-pressure
//!
//! The receiver reads the data of a frame once they fit its bounds for the drive, the peer and the process; until then the
//! stream stands still and flow control holds the sender. A sender has at most 16 MiB on the way to one drive, so the
//! streams of a drive that stands still leave room in the connection's window for those of the others.

mod client;
mod identity;
pub mod limits;
mod local;
mod plane;
mod proof;
mod serve;
mod socket;
mod stream;
mod tls;
mod wire;

pub use identity::{Identity, NodeId};
pub use plane::{PeerInfo, PeerState, PeerStats, Plane, PlaneOptions};
