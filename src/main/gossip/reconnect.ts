/** Tries those that are not there now and then, so that halves of a partition, and clusters that began apart, find each other. */
import type { Core } from './core.ts'
import type { Exchange } from './exchange.ts'
import { isLive } from './table.ts'

const FIRST_RETRY_MS = 1000

export class Reconnect {
  private readonly core: Core
  private readonly exchange: Exchange
  private seeds: readonly string[] = []
  private nextSeed = 0
  private retryMs = FIRST_RETRY_MS
  private atMs: number

  constructor(core: Core, exchange: Exchange) {
    this.core = core
    this.exchange = exchange
    this.atMs = core.clock.timeMs + core.config.reconnectIntervalMs * core.random()
  }

  get nextMs(): number {
    return this.atMs
  }

  join(seeds: readonly string[]): void {
    this.seeds = [...seeds]
    this.nextSeed = 0
    this.retryMs = FIRST_RETRY_MS
    for (const addr of seeds) this.contact(addr)
    if (seeds.length > 0) this.atMs = this.core.clock.timeMs + this.retryMs
  }

  contact(addr: string): void {
    this.core.output({ kind: 'contact', addr, message: this.exchange.digest() })
  }

  tick(): void {
    const { core } = this
    if (core.clock.timeMs < this.atMs) return
    const alone = core.table.liveCount <= 1
    const jitter = 0.75 + 0.5 * core.random()
    this.retryMs = alone ? Math.min(2 * this.retryMs, core.config.reconnectIntervalMs) : FIRST_RETRY_MS
    this.atMs = core.clock.timeMs + (alone ? this.retryMs : core.config.reconnectIntervalMs) * jitter
    this.trySeed(alone)
    this.tryGone()
  }

  private trySeed(alone: boolean): void {
    if (this.seeds.length === 0) return
    const seed = this.seeds[this.nextSeed++ % this.seeds.length]!
    if (alone || !this.isLiveAddr(seed)) this.contact(seed)
  }

  private tryGone(): void {
    const { core, exchange } = this
    const all = core.table.gone()
    const gone = all[Math.floor(core.random() * all.length)]
    if (gone === undefined) return
    const { nodeId } = gone.signed.record
    const news = core.accusationOf(nodeId)
    // The dead refute what they hear of themselves; tables are compared then.
    if (news.length > 0) core.send(nodeId, { kind: 'gossip', news })
    else exchange.beginWith(nodeId)
  }

  private isLiveAddr(addr: string): boolean {
    return this.core.table.values().some((entry) => isLive(entry) && entry.signed.record.addrs.includes(addr))
  }
}
