/** The members as this node sees them, and the hashes by which two tables are compared. */
import type { NodeId } from '../../shared/ids.ts'
import type { MemberState } from '../membership/contract.ts'
import { MAX_BUCKETS } from './message-codec.ts'
import { bucketOf, NodeNumbers } from './node-numbers.ts'
import { PagedArray } from './paged-array.ts'
import type { View } from './view.ts'

export interface Entry extends View {
  readonly index: number
  /** By the clock of nowMs. */
  readonly changedMs: number
  /** When it died or left, as far as anybody knows. 0 for the living. */
  readonly goneAtMs: number
}

const STATE_SALTS: Record<MemberState, number> = { alive: 0x1b56c4e9, suspect: 0x2f6b1e3d, dead: 0x5d588b65, left: 0x7ed55d16 }

export class Table {
  readonly numbers: NodeNumbers
  private readonly entries: PagedArray<Entry>
  /** XOR of the members' hashes, by MAX_BUCKETS ranges of their keys. */
  private readonly leaves: Uint32Array
  /** XOR of the hashes of the living. */
  private live: number
  private present: number
  /** Indexes of the dead and the left. */
  private readonly goneOnes: Set<number>

  constructor(numbers = new NodeNumbers(), from?: Table) {
    this.numbers = numbers
    this.entries = from?.entries.fork() ?? new PagedArray()
    this.leaves = from?.leaves.slice() ?? new Uint32Array(MAX_BUCKETS)
    this.live = from?.live ?? 0
    this.present = from?.present ?? 0
    this.goneOnes = new Set(from?.goneOnes)
  }

  /** A table with the same members. This one must not change any more. */
  fork(): Table {
    return new Table(this.numbers, this)
  }

  get size(): number {
    return this.present
  }

  /** Alive and suspect members. */
  get liveCount(): number {
    return this.present - this.goneOnes.size
  }

  /** Equal for tables with the same living members, however these are seen. 32 bits. */
  get liveHash(): number {
    return this.live >>> 0
  }

  get(id: NodeId): Entry | undefined {
    const index = this.numbers.find(id)
    return index === undefined ? undefined : this.entries.get(index)
  }

  byKey(key: number): Entry | undefined {
    const index = this.numbers.findKey(key)
    return index === undefined ? undefined : this.entries.get(index)
  }

  at(index: number): Entry | undefined {
    return this.entries.get(index)
  }

  gone(): Entry[] {
    return [...this.goneOnes].map((index) => this.entries.get(index)!)
  }

  values(): Generator<Entry> {
    return this.entries.values()
  }

  set(view: View, changedMs: number, goneAtMs: number): Entry {
    const index = this.numbers.of(view.signed.record.nodeId, view.signed.key)
    this.count(this.entries.get(index), -1)
    const entry: Entry = { signed: view.signed, state: view.state, index, changedMs, goneAtMs }
    this.entries.set(index, entry)
    this.count(entry, 1)
    return entry
  }

  remove(entry: Entry): void {
    this.count(entry, -1)
    this.entries.set(entry.index, undefined)
    this.numbers.release(entry.signed.record.nodeId, entry.signed.key)
  }

  /** Members in one of `count` buckets, a power of two up to MAX_BUCKETS. */
  *inBucket(bucket: number, count: number): Generator<Entry> {
    const width = MAX_BUCKETS / count
    for (let leaf = bucket * width; leaf < (bucket + 1) * width; leaf++) {
      for (const index of this.numbers.inBucket(leaf)) {
        const entry = this.entries.get(index)
        if (entry !== undefined) yield entry
      }
    }
  }

  /** Up to `count` different members for which `fits` holds, drawn at random. */
  sample(count: number, random: () => number, fits: (entry: Entry) => boolean): Entry[] {
    const chosen: Entry[] = []
    const size = this.numbers.size
    for (let tries = 0; tries < 4 * count + 8 && chosen.length < count; tries++) {
      const entry = this.entries.get(Math.floor(random() * size))
      if (entry !== undefined && fits(entry) && !chosen.includes(entry)) chosen.push(entry)
    }
    if (chosen.length === count || size === 0) return chosen
    // Few fit: look at all.
    const rest = [...this.values()].filter((entry) => fits(entry) && !chosen.includes(entry))
    while (chosen.length < count && rest.length > 0) {
      const at = Math.floor(random() * rest.length)
      chosen.push(rest[at]!)
      rest[at] = rest.at(-1)!
      rest.pop()
    }
    return chosen
  }

  /** Hashes for `count` buckets, a power of two up to MAX_BUCKETS. */
  hashes(count: number): Uint32Array {
    const width = MAX_BUCKETS / count
    const folded = new Uint32Array(count)
    for (let leaf = 0; leaf < MAX_BUCKETS; leaf++) folded[Math.floor(leaf / width)]! ^= this.leaves[leaf]!
    return folded
  }

  private count(entry: Entry | undefined, sign: 1 | -1): void {
    if (entry === undefined) return
    this.present += sign
    if (isLive(entry) || sign < 0) this.goneOnes.delete(entry.index)
    else this.goneOnes.add(entry.index)
    const hash = hashOf(entry)
    this.leaves[bucketOf(entry.signed.key, MAX_BUCKETS)]! ^= hash
    if (isLive(entry)) this.live ^= hash
  }
}

export const isLive = ({ state }: View): boolean => state === 'alive' || state === 'suspect'

/** 32 bits that change with member, incarnation and state (multiply and shift as in MurmurHash3's finalizer). */
function hashOf({ signed: { key, record }, state }: View): number {
  let hash = STATE_SALTS[state]
  for (const word of [key >>> 0, Math.floor(key / 2 ** 32), record.incarnation >>> 0, Math.floor(record.incarnation / 2 ** 32)]) {
    hash = Math.imul(hash ^ word, 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    hash ^= hash >>> 16
  }
  return hash >>> 0
}
