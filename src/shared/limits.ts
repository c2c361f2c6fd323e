/** Every bound of Anvil that is not a setting, in one place. Units stand last in the names. */

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB
export const TIB = 1024 * GIB

/** S3: one PUT, one part, one server-side copy. Also the largest blob. */
export const MAX_BLOB_BYTES = 5 * GIB
/** S3: a multipart object. */
export const MAX_OBJECT_BYTES = 50 * TIB
/** S3: all parts but the last. */
export const MIN_PART_BYTES = 5 * MIB
export const MAX_PARTS = 10_000
export const MAX_KEY_BYTES = 1024
/** S3: user metadata, names and values together. */
export const MAX_USER_METADATA_BYTES = 2 * KIB
export const MAX_LIST_KEYS = 1000
export const MAX_DELETE_KEYS = 1000
/** S3: body of a request that is XML. */
export const MAX_XML_BODY_BYTES = 2 * MIB
export const MAX_XML_DEPTH = 16
/** Request head that uWebSockets.js accepts. */
export const MAX_HEADERS_BYTES = 32 * KIB
/** SigV4: how far a request's date may be from ours. */
export const MAX_CLOCK_SKEW_MS = 15 * 60_000
/** SigV4: longest life of a presigned URL. */
export const MAX_PRESIGN_SECONDS = 7 * 24 * 3600

/** Bodies up to this size live in the metadata row. docs/ARCHITECTURE.md says how the border was measured. */
export const INLINE_BYTES = 4 * KIB

/** Slots that new blobs are spread over. */
export const PLACEMENT_SLOTS = 256
/** A placement group is sealed at this much data. */
export const PG_SEAL_BYTES = 64 * GIB
export const MAX_DRIVES_PER_NODE = 16

/** One mutation batch of the metadata writer. */
export const MAX_BATCH_ROWS = 4000
export const MAX_BATCH_BYTES = 8 * MIB
/** How long a request waits for a Postgres that is away before it is answered 503. */
export const METADATA_WAIT_MS = 10_000
/** How long a stalled client may leave its request without a byte. */
export const REQUEST_IDLE_MS = 60_000
/** SIGTERM: how long running requests may take to end. */
export const DRAIN_MS = 30_000

/** Gossip: one message between two nodes; larger tables go in several. */
export const MAX_GOSSIP_MESSAGE_BYTES = 256 * KIB
/** Gossip: what a node says of itself, without its signature. */
export const MAX_GOSSIP_RECORD_BYTES = 4 * KIB
