/** What the parts of the protocol share: configuration, chance, time, the table, and what goes out. */
import type { NodeId } from '../../shared/ids.ts'
import type { Member } from '../membership/contract.ts'
import { shareOf } from './config.ts'
import type { Message, News, Output, SignedRecord, SwimConfig, SwimOptions } from './contract.ts'
import type { LocalHealth } from './local-health.ts'
import { messageBytes, PACKET_HEAD_BYTES, PING_VIEW_BYTES } from './message-codec.ts'
import { accusationNews, noticeNews, recordNews } from './news-codec.ts'
import type { NewsQueue } from './news-queue.ts'
import type { RunningClock } from './running-clock.ts'
import { memberKey } from './record-codec.ts'
import { type Entry, isLive, type Table } from './table.ts'
import type { View } from './view.ts'

const PROBLEM_EVERY_MS = 60_000
/** Most messages carry none, and most calls lead to none. */
const NO_NEWS: readonly News[] = []
const NO_OUTPUTS: Output[] = []

export interface CoreParts {
  readonly selfId: NodeId
  readonly region: string
  readonly config: SwimConfig
  readonly random: () => number
  readonly verify: SwimOptions['verify']
  readonly clock: RunningClock
  readonly health: LocalHealth
  readonly table: Table
  readonly news: NewsQueue
}

export class Core implements CoreParts {
  readonly selfId: NodeId
  readonly selfKey: number
  readonly region: string
  readonly config: SwimConfig
  readonly random: () => number
  readonly verify: SwimOptions['verify']
  readonly clock: RunningClock
  readonly health: LocalHealth
  readonly table: Table
  readonly news: NewsQueue
  private outputs: Output[] = []
  private newsAtMs: number
  private readonly reported = new Map<string, number>()

  constructor(parts: CoreParts) {
    this.selfId = parts.selfId
    this.selfKey = memberKey(parts.selfId)
    this.region = parts.region
    this.config = parts.config
    this.random = parts.random
    this.verify = parts.verify
    this.clock = parts.clock
    this.health = parts.health
    this.table = parts.table
    this.news = parts.news
    this.newsAtMs = parts.clock.timeMs
  }

  drain(): Output[] {
    const outputs = this.outputs
    if (outputs.length === 0) return NO_OUTPUTS
    this.outputs = []
    return outputs
  }

  send(to: NodeId, message: Message): void {
    const addrs = this.table.get(to)?.signed.record.addrs ?? []
    this.outputs.push({ kind: 'send', to, addrs, message, large: !('news' in message) || messageBytes(message) > this.config.packetBytes })
  }

  output(output: Output): void {
    this.outputs.push(output)
  }

  problem(peer: NodeId, problem: 'duplicate-node' | 'wrong-region' | 'protocol', text: string): void {
    const now = this.clock.wallMs
    const key = `${problem} ${peer}`
    if (now - (this.reported.get(key) ?? -Infinity) < PROBLEM_EVERY_MS) return
    // Peers are authenticated members, so there are not many; but strangers' ids must not stay for ever.
    if (this.reported.size >= 1024) this.reported.clear()
    this.reported.set(key, now)
    this.outputs.push({ kind: 'problem', peer, problem, text })
  }

  /** Puts a view into the table and tells the driver. */
  set(view: View, goneAtMs = 0): Entry {
    const old = this.table.get(view.signed.record.nodeId)
    const changedMs = old?.state === view.state ? old.changedMs : this.clock.wallMs
    const entry = this.table.set(view, changedMs, isLive(view) ? 0 : goneAtMs)
    this.outputs.push({ kind: 'change', member: this.member(entry), before: old?.state ?? null })
    return entry
  }

  member({ signed: { record }, state, changedMs }: Entry): Member {
    return { ...record, state, changedMs, self: record.nodeId === this.selfId }
  }

  /** How a member is seen here, for the member itself: it refutes what it does not agree with (Lifeguard's buddy system). */
  accusationOf(to: NodeId): readonly News[] {
    const entry = this.table.get(to)
    if (entry === undefined || (entry.state !== 'suspect' && entry.state !== 'dead')) return NO_NEWS
    return [accusationNews(entry.state, entry.signed.key, entry.signed.record.incarnation, this.selfKey)]
  }

  /** News to pass on; see {@link NewsQueue.push}. */
  tell(topic: string, news: News, replaces: (old: News) => boolean, brief: News | null = news): void {
    this.newsAtMs = this.clock.timeMs
    this.news.push(topic, news, replaces, brief)
  }

  tellRecord(signed: SignedRecord): void {
    this.tell(signed.record.nodeId, recordNews(signed), () => true, noticeNews(signed))
  }

  /** Nothing has changed lately, so what others see differently, one of the two has missed. */
  get isQuiet(): boolean {
    return this.news.size === 0 && this.clock.timeMs - this.newsAtMs >= this.config.quietMs
  }

  ping(to: NodeId, number: number): void {
    this.send(to, { kind: 'ping', number, news: this.newsFor(to, PACKET_HEAD_BYTES + PING_VIEW_BYTES), view: this.isQuiet ? this.table.liveHash : null })
  }

  /** News to ride along with a message to this member. */
  newsFor(to: NodeId, headBytes = PACKET_HEAD_BYTES): readonly News[] {
    const { config } = this
    const first = this.accusationOf(to)
    if (this.news.size === 0) return first
    const budgetBytes = config.packetBytes - headBytes - first.reduce((sum, { bytes }) => sum + bytes, 0)
    const news = this.news.take(budgetBytes, shareOf(config, this.table.liveCount, this.news.fullBytes), config.packetBytes - headBytes)
    return first.length === 0 ? news : [...first, ...news]
  }

  isOther = (entry: Entry): boolean => entry.signed.record.nodeId !== this.selfId
  isOtherLive = (entry: Entry): boolean => isLive(entry) && entry.signed.record.nodeId !== this.selfId
}
