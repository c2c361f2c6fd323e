/**
 * SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2018) as a state machine: contract.ts says how it
 * is driven, docs/gossip.md how it works.
 */
import type { NodeId } from '../../shared/ids.ts'
import type { ClusterEvent, Member } from '../membership/contract.ts'
import { DEFAULTS, FEW_MEMBERS } from './config.ts'
import type { Message, News, Output, SwimCore, SwimOptions } from './contract.ts'
import { Core } from './core.ts'
import { Events } from './events.ts'
import { Exchange } from './exchange.ts'
import { LocalHealth } from './local-health.ts'
import { Members } from './members.ts'
import { decodeMessage } from './message-codec.ts'
import { NewsQueue } from './news-queue.ts'
import { OwnRecord, type SelfUpdate } from './own-record.ts'
import { Prober } from './prober.ts'
import { memberKey } from './record-codec.ts'
import { Reconnect } from './reconnect.ts'
import { RunningClock } from './running-clock.ts'
import { Table } from './table.ts'
import { WireError } from './wire.ts'

/** A loop this late says something about this node's health. */
const UNWELL_LAG_MS = 250

export class Swim implements SwimCore {
  private readonly core: Core
  private readonly own: OwnRecord
  private readonly members_: Members
  private readonly prober: Prober
  private readonly exchange: Exchange
  private readonly reconnect: Reconnect
  private readonly events: Events
  private gossipAtMs: number

  /** @param table to begin with; a simulation gives copies of one */
  constructor({ self, config, random, nowMs, sign, verify }: SwimOptions, table = new Table()) {
    const settings = { ...DEFAULTS, ...config }
    this.core = new Core({
      selfId: self.nodeId,
      region: self.region,
      config: settings,
      random,
      verify,
      clock: new RunningClock(nowMs),
      health: new LocalHealth(settings.healthMax),
      table,
      news: new NewsQueue(),
    })
    this.own = new OwnRecord(this.core, self, sign)
    this.members_ = new Members(this.core)
    this.prober = new Prober(this.core, this.members_)
    this.exchange = new Exchange(this.core, this.members_, this.own)
    this.reconnect = new Reconnect(this.core, this.exchange)
    this.events = new Events(this.core, self.processId)
    this.gossipAtMs = this.core.clock.timeMs
  }

  get self(): Member {
    return this.member(this.core.selfId)!
  }

  get health(): number {
    return this.core.health.score
  }

  get nextTickMs(): number {
    const { clock, news } = this.core
    let next = Math.min(this.own.nextMs, news.size > 0 ? this.gossipAtMs : Infinity)
    if (!this.own.leaving) next = Math.min(next, this.members_.nextMs, this.prober.nextMs, this.exchange.nextMs, this.reconnect.nextMs)
    return clock.want(Math.max(next, clock.timeMs))
  }

  receive(message: Uint8Array | Message, from: NodeId, nowMs: number): void {
    this.advance(nowMs)
    try {
      this.hear(message instanceof Uint8Array ? decodeMessage(message) : message, from)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      this.core.problem(from, 'protocol', `${from} sent what is no gossip message: ${error.message}`)
    }
  }

  tick(nowMs: number): void {
    this.advance(nowMs)
    this.own.tick()
    if (!this.own.leaving) {
      this.members_.tick()
      this.prober.tick()
      this.exchange.tick()
      this.reconnect.tick()
    }
    this.gossip()
  }

  join(seedAddrs: readonly string[], nowMs: number): void {
    this.advance(nowMs)
    this.reconnect.join(seedAddrs)
  }

  contact(addr: string, nowMs: number): void {
    this.advance(nowMs)
    this.reconnect.contact(addr)
  }

  leave(nowMs: number): void {
    this.advance(nowMs)
    this.own.leave()
    this.gossip(FEW_MEMBERS)
  }

  updateSelf(part: SelfUpdate, nowMs: number): void {
    this.advance(nowMs)
    this.own.update(part)
    this.gossip()
  }

  broadcast(event: ClusterEvent, nowMs: number): void {
    this.advance(nowMs)
    this.events.broadcast(event)
    this.gossip()
  }

  reportLag(lagMs: number, nowMs: number): void {
    this.advance(nowMs)
    if (lagMs >= UNWELL_LAG_MS) this.core.health.note(1)
  }

  *members(): Generator<Member> {
    for (const entry of this.core.table.values()) yield this.core.member(entry)
  }

  member(nodeId: NodeId): Member | undefined {
    const entry = this.core.table.get(nodeId)
    return entry === undefined ? undefined : this.core.member(entry)
  }

  drain(): Output[] {
    return this.core.drain()
  }

  private advance(nowMs: number): void {
    if (this.core.clock.advance(nowMs) >= UNWELL_LAG_MS) this.core.health.note(1)
  }

  private gossip(fanout = this.core.config.gossipFanout): void {
    const { core } = this
    if (core.news.size === 0 || core.clock.timeMs < this.gossipAtMs) return
    this.gossipAtMs = core.clock.timeMs + core.config.gossipIntervalMs
    const targets = core.table.sample(core.table.liveCount <= FEW_MEMBERS ? Math.max(fanout, FEW_MEMBERS) : fanout, core.random, core.isOtherLive)
    for (const { signed } of targets) {
      const { nodeId } = signed.record
      const news = core.newsFor(nodeId)
      if (news.length > 0) core.send(nodeId, { kind: 'gossip', news })
    }
  }

  private hear(message: Message, from: NodeId): void {
    const { core } = this
    if (from === core.selfId) {
      core.problem(from, 'duplicate-node', 'another process speaks with this node\'s key: a copied state directory?')
      return
    }
    const before = core.table.get(from)
    const stranger = before === undefined
    let missing: number[] | null = null
    if ('news' in message) {
      for (const news of message.news) {
        const key = this.hearNews(news, from)
        if (key !== null) (missing ??= []).push(key)
      }
    }
    switch (message.kind) {
      case 'ping':
        core.send(from, { kind: 'ack', number: message.number, news: core.newsFor(from) })
        this.exchange.onView(message.view, from)
        break
      case 'ack':
        this.prober.acked(message.number, from)
        break
      case 'nack':
        this.prober.nacked(message.number, from)
        break
      case 'ping-request':
        this.prober.help(from, message.number, message.target)
        break
      case 'gossip':
        break
      case 'digest':
        if (this.exchange.onSelf(message.self, from)) this.exchange.onDigest(message.members, message.hashes, from)
        break
      case 'difference':
        if (this.exchange.onSelf(message.self, from)) this.exchange.onDifference(message.bucketCount, message.buckets, from)
        break
      case 'entries':
        this.exchange.onEntries(message.entries, from)
        this.exchange.onWanted(message.wanted, from)
    }
    const after = core.table.get(from)
    if (missing !== null) this.exchange.ask(missing, from)
    else if (stranger && after === undefined && message.kind !== 'entries') this.exchange.ask([memberKey(from)], from)
    // It lives and may not know how it is seen; the answer to a ping has told it.
    if (message.kind !== 'ping' && after?.state === 'dead') core.send(from, { kind: 'gossip', news: core.accusationOf(from) })
    // Back from the dead: what else did each side miss?
    if (before?.state === 'dead' && after?.state === 'alive') this.exchange.beginWith(from)
  }

  /** @returns the key of a member whose record is needed to understand it */
  private hearNews(news: News, from: NodeId): number | null {
    const { core } = this
    switch (news.kind) {
      case 'record':
        if (news.signed.record.nodeId === core.selfId) this.own.heard(news.signed, from)
        else this.members_.learn(news.signed, from)
        return null
      case 'notice':
        return this.members_.knows(news.member, news.incarnation) ? null : news.member
      case 'suspect':
      case 'dead':
        // Of an incarnation that this process has not had: a life before with a clock ahead, or a lie. Its signature tells.
        if (news.member === core.selfKey) return this.own.accused(news.incarnation, from) ? null : news.member
        if (!this.members_.accuse(news.kind, news.member, news.incarnation, news.by)) return news.member
        return null
      case 'event':
        this.events.heard(news)
        return null
    }
  }
}

