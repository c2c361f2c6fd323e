/**
 * What the gossip core takes and gives. It is sans-IO: a driver owns sockets, clocks and keys, hands over what arrived and
 * what time it is, and sends what comes out. docs/gossip.md describes the protocol.
 *
 *     swim.receive(bytes, from, nowMs)   // or tick, join, leave, updateSelf, broadcast, reportLag
 *     for (const output of swim.drain()) act on it
 *     arrange for tick(now) at swim.nextTickMs
 */
import type { NodeId } from '../../shared/ids.ts'
import type { ClusterEvent, Member, MemberRecord, MemberState } from '../membership/contract.ts'

/** A member's record as its node signed it. Immutable and shared: never changed once made. */
export interface SignedRecord {
  readonly record: MemberRecord
  /** The node has said goodbye: the member is `left`. */
  readonly leaving: boolean
  /** What was signed, passed on as it came, with whatever a newer version put at its end. */
  readonly body: Uint8Array
  readonly signature: Uint8Array
  /** 48 bits of the node id's hash: the member's name in digests. */
  readonly key: number
}

/** News that is passed on with other messages. `bytes`: its exact length in a message, its own length prefix included. */
export type News =
  | { readonly kind: 'record'; readonly signed: SignedRecord; readonly bytes: number }
  /** `by` could not reach `member`, or, with `dead`, has not seen it answer for the time of suspicion. Both are keys. */
  | { readonly kind: 'suspect' | 'dead'; readonly member: number; readonly incarnation: number; readonly by: number; readonly bytes: number }
  /** There is a record of this incarnation: who does not have it asks whoever said so. */
  | { readonly kind: 'notice'; readonly member: number; readonly incarnation: number; readonly bytes: number }
  /** `process` and `number` name the event: news is handled once. */
  | { readonly kind: 'event'; readonly origin: NodeId; readonly process: string; readonly number: number; readonly event: ClusterEvent; readonly bytes: number }

/** A member as an exchange of tables tells it. */
export interface TableEntry {
  readonly signed: SignedRecord
  readonly state: MemberState
  /** How long ago it died or left, as far as the sender knows; 0 for the living. All forget the dead at the same time. */
  readonly goneMs: number
}

/** A member in a digest: enough to see who has the newer view. */
export interface DigestEntry {
  readonly key: number
  readonly incarnation: number
  readonly state: MemberState
}

/** Encoded by message-codec.ts. All are sent to one peer; none needs an answer to be harmless. */
export type Message =
  /** `view`: a hash of the living as the sender sees them, from one that has had no news for a while; else null. */
  | { kind: 'ping'; number: number; news: readonly News[]; view: number | null }
  | { kind: 'ack'; number: number; news: readonly News[] }
  /** Asks the receiver to ping `target` and to pass the answer on. */
  | { kind: 'ping-request'; number: number; target: NodeId; news: readonly News[] }
  /** The asked one is well, but had no answer from the target. */
  | { kind: 'nack'; number: number; news: readonly News[] }
  | { kind: 'gossip'; news: readonly News[] }
  /** First of an exchange of tables: the sender's own record, how many members it knows, and a hash of each bucket of its table. */
  | { kind: 'digest'; self: SignedRecord; members: number; hashes: Uint32Array }
  /** Answer: the receiver's view of the buckets that differ, a few at a time. */
  | { kind: 'difference'; self: SignedRecord; bucketCount: number; buckets: readonly { bucket: number; entries: readonly DigestEntry[] }[] }
  /** Members in full, and the keys of those that the sender would like to have in full. */
  | { kind: 'entries'; entries: readonly TableEntry[]; wanted: readonly number[] }

/** What the driver is to do, in this order. */
export type Output =
  /**
   * Send to a member over its connection; dial `addrs` (multiaddrs without /p2p) where there is none. A message that cannot
   * be sent at once, or within `config.probeTimeoutMs`, may be dropped: the core treats it as lost. `large` ones may
   * exceed a packet (up to MAX_GOSSIP_MESSAGE_BYTES) and belong on a stream of their own; they may take a few seconds.
   */
  | { kind: 'send'; to: NodeId; addrs: readonly string[]; message: Message; large: boolean }
  /** Dial this address, whoever answers there, and send over a stream. What it answers comes through receive() with its node id. */
  | { kind: 'contact'; addr: string; message: Message }
  /** This member is probed next, an interval from now: time to dial it where there is no connection, or the dial would count as its silence. */
  | { kind: 'expect'; to: NodeId; addrs: readonly string[] }
  /** A member came (`before` null), or changed its state or its record. `member` is a snapshot. */
  | { kind: 'change'; member: Member; before: MemberState | null }
  /** Dead or left for `forgetMs`: gone from the table. */
  | { kind: 'forgotten'; nodeId: NodeId }
  | { kind: 'event'; from: NodeId; event: ClusterEvent }
  /** For the log and for `anvil cluster status`. The core reports each at most once a minute. */
  | { kind: 'problem'; peer: NodeId; problem: 'duplicate-node' | 'wrong-region' | 'protocol'; text: string }

export interface SwimConfig {
  /** One member is probed in each of these, times local health. @default 500 */
  probeIntervalMs: number
  /** How long a direct probe may take before others are asked to help, times local health. @default 400 */
  probeTimeoutMs: number
  /** How long a probe may take in all, times local health. @default 1000 */
  probeEndMs: number
  /** How many are asked. @default 3 */
  indirectProbes: number
  /** News goes out this often while there is any. @default 200 */
  gossipIntervalMs: number
  /** To so many members each time. @default 3 */
  gossipFanout: number
  /** Each piece of news is sent `retransmitFactor * ceil(log10(n + 1))` times, and among at most 17 members to each of the others. @default 4 */
  retransmitFactor: number
  /** But no more often than so, however many members there are. @default 12 */
  retransmitMax: number
  /** Of these times, so many with the record itself, the others with a notice of it. @default 6 */
  recordsInFull: number
  /** Least time of suspicion: `suspicionFactor * max(1, log10(n)) * probeEndMs` up to 100 members, and never below suspicionFloorMs. @default 4 */
  suspicionFactor: number
  /** Its further growth for each ten times as many, in probeEndMs. @default 1 */
  suspicionFactorBeyond: number
  /** @default 5000 */
  suspicionFloorMs: number
  /** Without confirmation by others, suspicion lasts so many times longer. @default 6 */
  suspicionMaxFactor: number
  /** So many other accusers bring it down to its least time. @default 3 */
  suspicionConfirmations: number
  /** Local health goes from 0 (well) to this less one; timeouts grow with it. @default 8 */
  healthMax: number
  /** A node that has had no news for so long lets others compare its view with theirs. @default 1500 */
  quietMs: number
  /** Tables are compared with one member this often. @default 30000 */
  exchangeIntervalMs: number
  /** One of the dead, or a seed address nobody alive has, is tried this often. @default 10000 */
  reconnectIntervalMs: number
  /** The dead and the left are forgotten after this long. @default 86400000 */
  forgetMs: number
  /** So many are known at most, this node, the dead and the left among them. Whoever else comes is refused. @default 32768 */
  maxMembers: number
  /** Bytes of a message that rides in a packet, news included. @default 1200 */
  packetBytes: number
}

export interface SwimOptions {
  /** This node. Take the milliseconds since the epoch as first incarnation: then a restart is above the life before. */
  self: MemberRecord
  config?: Partial<SwimConfig>
  /** In [0, 1). */
  random: () => number
  /** Any clock in milliseconds that does not go back; all nowMs are of the same one. */
  nowMs: number
  /** By this node's identity key. */
  sign: (body: Uint8Array) => Uint8Array
  /** Must return false, not throw, for a node id that is none. */
  verify: (nodeId: NodeId, body: Uint8Array, signature: Uint8Array) => boolean
}

/** The driver's side of {@link import('./swim.ts').Swim}. */
export interface SwimCore {
  readonly self: Member
  /** Local health: 0 is well. */
  readonly health: number
  /** When tick() wants to be called; at the latest then, earlier does no harm. Read it again after each call. */
  readonly nextTickMs: number
  /** Bytes that are no message, or too many, are reported as a problem and otherwise ignored. `from` is authenticated by the transport. */
  receive(message: Uint8Array | Message, from: NodeId, nowMs: number): void
  tick(nowMs: number): void
  /** Addresses to find the others by; tried at once, then with back-off while this node is alone, then now and then. Replaces those given before. */
  join(seedAddrs: readonly string[], nowMs: number): void
  /** Somebody is there: found by mDNS, or a stranger connected. Compares tables with whoever answers at the address. */
  contact(addr: string, nowMs: number): void
  /** Says goodbye: drain() now, again on ticks for a second or so, then stop. */
  leave(nowMs: number): void
  /** New drives, addresses, zone…: a new record with a higher incarnation. */
  updateSelf(part: Partial<Omit<MemberRecord, 'nodeId' | 'processId' | 'incarnation' | 'region'>>, nowMs: number): void
  broadcast(event: ClusterEvent, nowMs: number): void
  /** How late the event loop ran. */
  reportLag(lagMs: number, nowMs: number): void
  /** All known ones, self among them, in no order. */
  members(): Iterable<Member>
  member(nodeId: NodeId): Member | undefined
  drain(): Output[]
}
