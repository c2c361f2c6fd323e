/**
 * The periodic comparison of two tables. One side sends a hash per bucket of members, the other what it holds in the buckets
 * that differ, so that equal tables of any size cost the same; then both send what the other lacks. A bucket that is empty
 * on the one side, as for a newcomer, is sent in full at once.
 */
import type { NodeId } from '../../shared/ids.ts'
import { isTold } from './config.ts'
import type { DigestEntry, Message, SignedRecord, TableEntry } from './contract.ts'
import type { Core } from './core.ts'
import type { Members } from './members.ts'
import { digestEntryBytes, MAX_BUCKETS, tableEntryBytes } from './message-codec.ts'
import type { OwnRecord } from './own-record.ts'
import { type Entry, isLive } from './table.ts'
import { outranks } from './view.ts'

/** One message of several. */
const CHUNK_BYTES = 64 * 1024
const DIFFERS_EVERY_MS = 500
const ASK_AGAIN_MS = 300
const MAX_ASKED = 4096
/** Of others that joined about the same time a newcomer hears little, being known to few itself: it soon compares once more. */
const NEWCOMER_MS = 4000
/** What one answer may come to; the rest comes with the next exchange. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024

export class Exchange {
  private readonly core: Core
  private readonly members: Members
  private readonly own: OwnRecord
  private atMs: number
  /** Keys, and when somebody was last asked for them. */
  private readonly asked = new Map<number, number>()
  /** Views that differ lead to a comparison of tables no more often than this, longer while they go on to differ. */
  private differsEveryMs = DIFFERS_EVERY_MS
  private differsAtMs = -Infinity

  constructor(core: Core, members: Members, own: OwnRecord) {
    this.core = core
    this.members = members
    this.own = own
    const { exchangeIntervalMs } = core.config
    this.atMs = core.clock.timeMs + (core.table.size > 1 ? core.random() * exchangeIntervalMs : Math.min(NEWCOMER_MS, exchangeIntervalMs))
  }

  get nextMs(): number {
    return this.atMs
  }

  tick(): void {
    const { core } = this
    if (core.clock.timeMs < this.atMs) return
    this.atMs = core.clock.timeMs + core.config.exchangeIntervalMs * (0.75 + 0.5 * core.random())
    const [partner] = core.table.sample(1, core.random, core.isOtherLive)
    if (partner !== undefined) this.beginWith(partner.signed.record.nodeId)
  }

  /** How another one sees the living. It has had no news for a while; if neither had this node, one of the two missed something. */
  onView(view: number | null, from: NodeId): void {
    const { clock, config, isQuiet, table } = this.core
    if (view === null || !isQuiet) return
    if (view === table.liveHash) {
      this.differsEveryMs = DIFFERS_EVERY_MS
      return
    }
    if (clock.timeMs < this.differsAtMs) return
    this.differsAtMs = clock.timeMs + this.differsEveryMs
    this.differsEveryMs = Math.min(2 * this.differsEveryMs, config.exchangeIntervalMs)
    this.beginWith(from)
  }

  beginWith(partner: NodeId): void {
    this.core.send(partner, this.digest())
  }

  digest(): Message {
    const { table } = this.core
    return { kind: 'digest', self: this.own.signed, members: table.size, hashes: table.hashes(MAX_BUCKETS) }
  }

  /** The other side's hashes: answers with what this side holds where they differ. */
  onDigest(members: number, hashes: Uint32Array, from: NodeId): void {
    const { table } = this.core
    const count = hashes.length
    if (2 * members < table.size) {
      // A newcomer, or one that lacks more than half.
      this.sendEntries(from, [...table.values()].filter(this.isTold).map((entry) => this.tableEntry(entry)), [])
      return
    }
    const mine = table.hashes(count)
    const differing: number[] = []
    for (let bucket = 0; bucket < count; bucket++) if (mine[bucket] !== hashes[bucket]) differing.push(bucket)
    if (differing.length === 0) return

    const inFull: TableEntry[] = []
    const buckets: { bucket: number; entries: DigestEntry[] }[] = []
    let bytes = 0
    for (const bucket of shuffled(differing, this.core.random)) {
      const entries = [...table.inBucket(bucket, count)].filter(this.isTold)
      if (hashes[bucket] === 0) {
        inFull.push(...entries.map((entry) => this.tableEntry(entry)))
        continue
      }
      const digests = entries.map(digestEntry)
      bytes += digests.reduce((sum, entry) => sum + digestEntryBytes(entry), 6)
      if (bytes > CHUNK_BYTES) break
      buckets.push({ bucket, entries: digests })
    }
    if (buckets.length > 0) this.core.send(from, { kind: 'difference', self: this.own.signed, bucketCount: count, buckets })
    this.sendEntries(from, inFull, [])
  }

  /** What the other side holds in the buckets that differ: sends what it lacks, and asks for what this side lacks. */
  onDifference(bucketCount: number, buckets: readonly { bucket: number; entries: readonly DigestEntry[] }[], from: NodeId): void {
    const wanted: number[] = []
    const lacking: TableEntry[] = []
    for (const { bucket, entries } of buckets) {
      const rest = new Map<number, Entry>()
      for (const entry of this.core.table.inBucket(bucket, bucketCount)) if (this.isTold(entry)) rest.set(entry.signed.key, entry)
      for (const theirs of entries) {
        const entry = rest.get(theirs.key)
        rest.delete(theirs.key)
        if (entry === undefined || theirs.incarnation > entry.signed.record.incarnation) wanted.push(theirs.key)
        else if (theirs.incarnation < entry.signed.record.incarnation || outranks(entry.state, theirs.state)) lacking.push(this.tableEntry(entry))
        else if (theirs.state !== entry.state) wanted.push(theirs.key)
      }
      for (const entry of rest.values()) lacking.push(this.tableEntry(entry))
    }
    this.sendEntries(from, lacking, wanted)
  }

  /** For members whose records are needed to understand what was said. Whoever is asked has ASK_AGAIN_MS to answer. */
  ask(keys: readonly number[], from: NodeId): void {
    const { timeMs } = this.core.clock
    const wanted = [...new Set(keys)].filter((key) => timeMs - (this.asked.get(key) ?? -Infinity) >= ASK_AGAIN_MS)
    if (wanted.length === 0) return
    if (this.asked.size + wanted.length > MAX_ASKED) this.asked.clear()
    for (const key of wanted) this.asked.set(key, timeMs)
    this.core.send(from, { kind: 'entries', entries: [], wanted })
  }

  onWanted(keys: readonly number[], from: NodeId): void {
    if (keys.length === 0) return
    const entries: TableEntry[] = []
    for (const key of new Set(keys)) {
      const entry = this.core.table.byKey(key)
      if (entry !== undefined) entries.push(this.tableEntry(entry))
    }
    this.sendEntries(from, entries, [])
  }

  onEntries(entries: readonly TableEntry[], from: NodeId): void {
    for (const entry of entries) {
      if (entry.signed.record.nodeId !== this.core.selfId) this.members.mergeEntry(entry, from)
      else {
        this.own.heard(entry.signed, from)
        if (entry.state === 'suspect' || entry.state === 'dead') this.own.accused(entry.signed.record.incarnation, from)
      }
    }
  }

  /** What a node says of itself at the beginning of an exchange. */
  onSelf(signed: SignedRecord, from: NodeId): boolean {
    return signed.record.nodeId === from && from !== this.core.selfId && this.members.learn(signed, from)
  }

  private sendEntries(to: NodeId, entries: readonly TableEntry[], wanted: readonly number[]): void {
    let chunk: TableEntry[] = []
    let bytes = 6 * wanted.length
    let allBytes = 0
    let rest = wanted
    const send = (): void => {
      if (chunk.length > 0 || rest.length > 0) this.core.send(to, { kind: 'entries', entries: chunk, wanted: rest })
      chunk = []
      rest = []
      bytes = 0
    }
    for (const entry of entries) {
      const size = tableEntryBytes(entry)
      if (bytes + size > CHUNK_BYTES) send()
      allBytes += size
      if (allBytes > MAX_ANSWER_BYTES) break
      chunk.push(entry)
      bytes += size
    }
    send()
  }

  private tableEntry({ signed, state, goneAtMs }: Entry): TableEntry {
    return { signed, state, goneMs: goneAtMs === 0 ? 0 : Math.max(0, Math.round(this.core.clock.wallMs - goneAtMs)) }
  }

  private isTold = (entry: Entry): boolean => isLive(entry) || isTold(this.core.config, this.core.clock.wallMs - entry.goneAtMs)
}

const digestEntry = ({ signed: { key, record }, state }: Entry): DigestEntry => ({ key, incarnation: record.incarnation, state })

/** From a random place on, or the same buckets would be left out each time. */
function shuffled<T>(all: readonly T[], random: () => number): T[] {
  const at = Math.floor(random() * all.length)
  return [...all.slice(at), ...all.slice(0, at)]
}
