//! Every limit of the shard plane, in one place.

use std::time::Duration;

// ------------------------------------------------------------------------------------------------------------ the socket

/// Asked for from the kernel for the one UDP socket; it may give less (net.core.rmem_max).
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// Upper bound of what path MTU discovery tries: a fourth of the CPU of 1452 where the path takes it (loopback, jumbo frames).
/// Above 16 KiB quinn-proto panics.
pub const MTU_UPPER_BOUND: u16 = 6500;

/// Bytes that one send with segmentation offload may carry; above it the kernel refuses, and quinn-udp swallows that.
pub const SEGMENTED_SEND_BYTES: usize = 65_000;

// ------------------------------------------------------------------------------------------------------------- the relay

/// Remote addresses that are relayed to the libp2p listener at once: one for each node that has dialled this one. Twice the
/// peers that the control plane holds at most, or healthy members would be turned away in a cluster of thousands, where
/// each node dials some twenty others a second and gives most of these connections up again.
pub const RELAY_ENTRIES: usize = 2048;

/// A QUIC client pads its first datagram to this (RFC 9000 §14.1); anything smaller opens no entry.
pub const RELAY_INITIAL_BYTES: usize = 1200;

/// An entry goes when nothing has come from or for its address for this long. Twice the idle limit of libp2p's QUIC (10 s).
pub const RELAY_IDLE: Duration = Duration::from_secs(20);

/// The same while the listener has not answered, or the address has not spoken since it did.
pub const RELAY_UNANSWERED_IDLE: Duration = Duration::from_secs(10);

/// New entries per source prefix (/24, /56): a bucket of this many, filled at this many a second.
pub const RELAY_PREFIX_BURST: u32 = 64;
pub const RELAY_PREFIX_PER_SECOND: u32 = 16;

/// Prefixes whose rate is remembered; new ones are refused beyond it until others are full again.
pub const RELAY_PREFIXES: usize = 4096;

/// Largest datagram from the listener to a peer.
pub const RELAY_DATAGRAM_BYTES: usize = 9216;

// ----------------------------------------------------------------------------------------------------------- connections

/// A peer that hears nothing for this long drops the connection.
pub const IDLE: Duration = Duration::from_secs(4);

/// The dialler pings this often, so that silence of [`SILENCE`] means at least three lost pings.
pub const KEEP_ALIVE: Duration = Duration::from_millis(300);

/// A peer from which nothing came for this long does not answer. New requests to it fail at once.
pub const SILENCE: Duration = Duration::from_secs(1);

/// How often that is looked at.
pub const WATCH: Duration = Duration::from_millis(200);

/// For a connection and the proofs on it.
pub const CONNECT: Duration = Duration::from_secs(1);

/// The same on the side that accepts, where the dialler sets the pace.
pub const ACCEPT: Duration = Duration::from_secs(3);

/// Wait between attempts to reach a peer: doubled from the first to the second.
pub const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Addresses tried of one peer.
pub const ADDRESSES: usize = 8;

/// Addresses tried of one name.
pub const RESOLVED: usize = 4;

/// Connections that may be between the first datagram and the proofs at once; beyond it addresses are validated first, and
/// beyond four times that many they are refused.
pub const UNPROVEN: usize = 64;

/// Connections from one node at a time; the oldest goes.
pub const CONNECTIONS_PER_PEER: usize = 4;

/// Streams of one peer at once: a slow upload has one open for as long as it lasts. What they hold together is bounded by
/// [`CONNECTION_WINDOW_BYTES`] and [`ReceiveLimits`].
pub const STREAMS_PER_PEER: u32 = 8192;

// -------------------------------------------------------------------------------------------------------------- requests

/// Largest frame, without the data behind it.
pub const FRAME_BYTES: usize = 256 * 1024;

/// Largest block that is written, and range that is read.
pub const DATA_BYTES: usize = 16 << 20;

/// Largest frame before the proofs.
pub const HELLO_BYTES: usize = 4096;

/// A text that goes with an error.
pub const TEXT_BYTES: usize = 512;

/// Shards of one frame of a removal or a question; longer lists take several frames on the same stream.
pub const BATCH: usize = 4096;

/// A shard of one block up to this size shares a stream with the others for its drive; larger ones get their own.
pub const COALESCED_BYTES: usize = 256 * 1024;

/// Bytes that are on their way to one drive of a peer and not acknowledged.
pub const DRIVE_CREDIT_BYTES: usize = 16 << 20;

/// Shards of one block that are on their way to one drive and not acknowledged.
pub const DRIVE_PUTS: usize = 2048;

/// Blocks of one shard that the receiver gives to the drive at once.
pub const APPENDS_AT_A_TIME: usize = 4;

/// A frame or a block that has begun must go on within this, or its stream is given up.
pub const FRAME_STALL: Duration = Duration::from_secs(10);

/// An answer that takes longer is not awaited.
pub const ANSWER: Duration = Duration::from_secs(20);

/// What a drive takes longer for than this is told in the log of its node.
pub const SLOW: Duration = Duration::from_secs(1);

/// Answer of a drive to a block of a put or a seal: group commits of a drive under load.
pub const DURABLE: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------------------------------- receiver's memory

/// What the receiving side may hold of blocks and answers: together, of one peer, for one drive. Beyond it streams are not
/// read, and QUIC's flow control holds the sender.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveLimits {
    pub total_bytes: usize,
    pub peer_bytes: usize,
    pub drive_bytes: usize,
}

impl ReceiveLimits {
    /// A quarter of what stripe buffers may take.
    pub fn of_memory(limit_bytes: u64) -> ReceiveLimits {
        let total = (limit_bytes / 4).clamp(64 << 20, 1 << 30) as usize;
        ReceiveLimits {
            total_bytes: total,
            peer_bytes: total / 2,
            drive_bytes: total / 4,
        }
    }
}

/// What a peer may have sent on streams that are not read: the flow-control window of its connection. Wide enough that
/// the streams for several drives that stand still leave room for the others.
pub const CONNECTION_WINDOW_BYTES: u32 = 128 << 20;

/// The same before the proofs.
pub const UNPROVEN_WINDOW_BYTES: u32 = 16 * 1024;
