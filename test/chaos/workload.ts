/** A steady mixed load through all nodes: so many operations a second, whether or not those before have been answered. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { CheckedStore } from './checked.ts'
import { ABSENT } from './history.ts'
import { list } from './listing.ts'
import type { Random } from './random.ts'
import { PART_BYTES, type Value } from './values.ts'
import { copy, multipart, put, remove } from './writes.ts'

const MIB = 1024 * 1024
/** Written, overwritten and deleted all the time. */
const HOT_KEYS = 40
/** More at a time wait for nothing but paused nodes. */
const MAX_RUNNING = 200
/** What lies on the drives, without redundancy; the oldest goes beyond it. */
const KEPT_BYTES = 700 * MIB

/** In the row, one stripe, several stripes. */
const SIZES = [
  { weight: 35, from: 0, to: 4096 },
  { weight: 40, from: 4097, to: 128 * 1024 },
  { weight: 20, from: 128 * 1024, to: MIB },
  { weight: 4, from: MIB, to: 6 * MIB },
]

const OPERATIONS = [
  { weight: 22, name: 'put hot' }, { weight: 22, name: 'put once' }, { weight: 6, name: 'put if' }, { weight: 6, name: 'delete' }, { weight: 5, name: 'copy' },
  { weight: 1, name: 'multipart' }, { weight: 22, name: 'get' }, { weight: 8, name: 'range' }, { weight: 4, name: 'head' }, { weight: 4, name: 'list' },
] as const

export interface WorkloadOptions {
  store: CheckedStore
  random: Random
  perSecond: number
  /** Nodes that requests go to now. */
  targets(): readonly number[]
}

export class Workload {
  readonly #options: WorkloadOptions
  readonly #running = new Set<Promise<void>>()
  /** Keys that are written once and stay, the oldest first. */
  readonly #once: Value[] = []
  #onceBytes = 0
  #made = 0
  #stopped = false
  readonly #loop: Promise<void>
  /** Not begun, since too many waited. */
  skipped = 0

  constructor(options: WorkloadOptions) {
    this.#options = options
    this.#loop = this.#go()
  }

  /** Resolves when every request has been answered or given up. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#loop
    await Promise.all(this.#running)
  }

  async #go(): Promise<void> {
    const beganMs = performance.now()
    for (let i = 1; !this.#stopped; i++) {
      if (this.#running.size >= MAX_RUNNING || this.#options.targets().length === 0) this.skipped++
      else {
        const one = this.#operation().finally(() => this.#running.delete(one))
        this.#running.add(one)
      }
      await sleep(Math.max(0, beganMs + (i * 1000) / this.#options.perSecond - performance.now()))
    }
  }

  async #operation(): Promise<void> {
    const { store, random, targets } = this.#options
    const node = random.pick(targets())
    const other = random.pick(targets())
    switch (random.weighted(OPERATIONS).name) {
      case 'put hot': return put(store, node, this.#value(this.#hot()))
      case 'put once': return this.#putOnce(node)
      case 'put if': return this.#putIf(node)
      case 'delete': return this.#delete(node)
      case 'copy': return this.#copy(node)
      case 'multipart': return multipart(store, node, other, store.values.make(this.#hot(), random.between(PART_BYTES, 3 * PART_BYTES), { parts: true, encrypted: random.chance(0.2) }), random.pick(['complete', 'complete', 'complete', 'abort', 'leave']))
      case 'get': return void (await store.read(node, 'GET', this.#any()))
      case 'range': return this.#range(node)
      case 'head': return void (await store.read(node, 'HEAD', this.#any()))
      case 'list': return void (await list(store, node, random.pick(['hot/', `once/${random.between(0, 9)}`]), random.pick([7, 50, 1000])))
    }
  }

  #hot(): string {
    return `hot/${this.#options.random.between(0, HOT_KEYS - 1)}`
  }

  #any(): string {
    const { random } = this.#options
    return random.chance(0.4) || this.#once.length === 0 ? this.#hot() : random.pick(this.#once).key
  }

  #value(key: string): Value {
    const { store, random } = this.#options
    const { from, to } = random.weighted(SIZES)
    return store.values.make(key, random.between(from, to), { encrypted: random.chance(0.15) })
  }

  async #putOnce(node: number): Promise<void> {
    const { store } = this.#options
    const value = this.#value(`once/${this.#made % 10}/${this.#made++}`)
    this.#once.push(value)
    this.#onceBytes += value.size
    const wrote = put(store, node, value)
    while (this.#onceBytes > KEPT_BYTES) {
      const oldest = this.#once.shift()!
      this.#onceBytes -= oldest.size
      await remove(store, node, [oldest.key])
    }
    await wrote
  }

  async #putIf(node: number): Promise<void> {
    const { store, random } = this.#options
    const key = this.#hot()
    const before = this.#current(key)
    await put(store, node, this.#value(key), before === null || random.chance(0.2) ? 'absent' : before)
  }

  async #delete(node: number): Promise<void> {
    const { store, random } = this.#options
    if (random.chance(0.4)) return remove(store, node, [...new Set([this.#hot(), this.#hot(), this.#hot()])])
    await remove(store, node, [this.#hot()])
  }

  async #copy(node: number): Promise<void> {
    const source = this.#current(this.#any())
    const key = this.#hot()
    // within a key ETags shall tell values apart
    if (source !== null && source.key !== key) await copy(this.#options.store, node, source, key)
  }

  async #range(node: number): Promise<void> {
    const { store, random } = this.#options
    const key = this.#any()
    const size = this.#current(key)?.size ?? 0
    if (size === 0) return
    const from = random.between(0, size - 1)
    await store.read(node, 'GET', key, { from, to: from + random.between(0, size) })
  }

  /** What was acknowledged last, as far as anybody knows; null: nothing, or that its ETag is not known or not its own. */
  #current(key: string): Value | null {
    const { store } = this.#options
    const last = store.history(key).last
    const value = last === null || last.value === ABSENT ? null : store.values.get(last.value)!
    return value === null || value.etag === null || value.seed !== value.id ? null : value
  }
}
