/** Node ids as small numbers, by which tables are indexed. */
import type { NodeId } from '../../shared/ids.ts'
import { MAX_BUCKETS } from './message-codec.ts'

export class NodeNumbers {
  private readonly numbers = new Map<NodeId, number>()
  private readonly keys = new Map<number, number>()
  private readonly buckets: number[][] = Array.from({ length: MAX_BUCKETS }, () => [])
  private readonly free: number[] = []
  private readonly isShared: boolean
  private end = 0

  /** @param isShared by the tables of several nodes, as in a simulation: a number that one does not need any more stays the node's */
  constructor(isShared = false) {
    this.isShared = isShared
  }

  /** All numbers are below. */
  get size(): number {
    return this.end
  }

  find(id: NodeId): number | undefined {
    return this.numbers.get(id)
  }

  findKey(key: number): number | undefined {
    return this.keys.get(key)
  }

  of(id: NodeId, key: number): number {
    let number = this.numbers.get(id)
    if (number === undefined) {
      number = this.free.pop() ?? this.end++
      this.numbers.set(id, number)
      this.keys.set(key, number)
      this.buckets[bucketOf(key, MAX_BUCKETS)]!.push(number)
    }
    return number
  }

  /** For another node, so that those who came and went long ago leave nothing behind. */
  release(id: NodeId, key: number): void {
    const number = this.numbers.get(id)
    if (this.isShared || number === undefined) return
    this.numbers.delete(id)
    if (this.keys.get(key) === number) this.keys.delete(key)
    const bucket = this.buckets[bucketOf(key, MAX_BUCKETS)]!
    bucket.splice(bucket.indexOf(number), 1)
    this.free.push(number)
  }

  /** Of MAX_BUCKETS. */
  inBucket(bucket: number): readonly number[] {
    return this.buckets[bucket]!
  }
}

export const bucketOf = (key: number, count: number): number => Math.floor((key / 2 ** 48) * count)
