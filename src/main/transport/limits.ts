/** The bounds of the control plane. Units stand last in the names. */

/** Version of what peers say to each other; the one before is understood too. */
export const PROTOCOL_VERSION = 1
export const OLDEST_PROTOCOL_VERSION = Math.max(1, PROTOCOL_VERSION - 1)

/** One gossip packet. */
export const MAX_PACKET_BYTES = 64 * 1024
/** Packets that wait for one peer; more push the oldest out. */
export const MAX_WAITING_PACKETS = 64
/** A request or an answer: a table of some ten thousand members fits. */
export const MAX_REQUEST_BYTES = 4 * 1024 * 1024
export const MAX_HANDSHAKE_BYTES = 2048

/** QUIC handshake with an address: its second and third try go out after 1 and 3 seconds. */
export const DIAL_TIMEOUT_MS = 6_000
/** After this the next address of a peer is tried beside the one before. */
export const DIAL_STAGGER_MS = 300
export const MAX_DIALLED_ADDRESSES = 8
/** Each message of the cluster handshake. */
export const HANDSHAKE_STEP_MS = 5_000
/** From an incoming connection to its proof. */
export const PROOF_TIMEOUT_MS = 12_000
export const REQUEST_TIMEOUT_MS = 5_000
/** A peer that sends nothing at all for this long is disconnected; keep-alives go out thrice as often. */
export const IDLE_TIMEOUT_MS = 10_000
export const KEEP_ALIVE_MS = 3_000
/** After a dial that failed, up to this long nobody tries again (grows from the first value to the second). */
export const REDIAL_FIRST_MS = 500
export const REDIAL_MOST_MS = 15_000

/** Incoming connections that have not proven themselves yet. */
export const MAX_UNPROVEN_CONNECTIONS = 128
/** libp2p's own bound, at which it refuses whoever comes: for the case that the ones below fail. */
export const MAX_CONNECTIONS = 4096
/** Peers whose connections are kept. A node talks to some dozen others a second, drawn at random. */
export const KEPT_PEERS = 512
/** How long one that is not among the KEPT_PEERS last used ones stays. */
export const UNUSED_PEER_MS = 10_000
export const PART_EVERY_MS = 1_000
/** Connections of one peer: each side may have dialled, and an old process may still be there. */
export const MAX_CONNECTIONS_PER_PEER = 4
/** The surplus one of two connections that crossed is closed after this time. */
export const SURPLUS_CONNECTION_MS = 20_000
/** Requests of one peer that are answered at once. */
export const MAX_REQUESTS_PER_PEER = 16

/** Clocks further apart than this are a problem that is shown. Nothing rests on it: leases and versions go by the database's clock. */
export const MAX_CLOCK_DIFFERENCE_MS = 5_000
