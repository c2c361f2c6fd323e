/** SWIM's failure detector: one member in each interval, directly, then with the help of others. */
import type { NodeId } from '../../shared/ids.ts'
import type { Core } from './core.ts'
import type { Members } from './members.ts'
import { ProbeOrder } from './probe-order.ts'
import type { Entry } from './table.ts'
import { textBytes } from './wire.ts'
import { PACKET_HEAD_BYTES } from './message-codec.ts'

interface Probe {
  readonly number: number
  readonly target: NodeId
  readonly targetKey: number
  readonly incarnation: number
  /** When others are asked and the target once more, and then when it is pinged yet again. */
  againAtMs: number
  readonly endMs: number
  /** null: not asked yet. */
  helpers: NodeId[] | null
  nacks: number
  answered: boolean
}

/** A probe for somebody else. */
interface Relay {
  readonly requester: NodeId
  readonly theirNumber: number
  readonly target: NodeId
  readonly endMs: number
}

/** What one node does for others at a time; beyond it requests go unanswered, as if lost. */
const MAX_RELAYS = 256

export class Prober {
  private readonly core: Core
  private readonly members: Members
  private readonly order: ProbeOrder
  private readonly relays = new Map<number, Relay>()
  private current: Probe | null = null
  private probeAtMs: number
  private lastNumber = 0

  constructor(core: Core, members: Members) {
    this.core = core
    this.members = members
    this.order = new ProbeOrder(core.random)
    this.probeAtMs = core.clock.timeMs + core.random() * core.config.probeIntervalMs
  }

  get nextMs(): number {
    let next = this.probeAtMs
    if (this.current !== null && !this.current.answered) next = Math.min(next, this.current.againAtMs)
    for (const { endMs } of this.relays.values()) next = Math.min(next, endMs)
    return Math.max(next, this.core.clock.verdictsFromMs)
  }

  tick(): void {
    const { clock } = this.core
    if (clock.timeMs < clock.verdictsFromMs) return
    if (this.current !== null && !this.current.answered && clock.timeMs >= this.current.againAtMs) this.tryAgain(this.current)
    for (const [number, relay] of this.relays) {
      if (clock.timeMs < relay.endMs) continue
      this.relays.delete(number)
      this.core.send(relay.requester, { kind: 'nack', number: relay.theirNumber, news: this.core.newsFor(relay.requester) })
    }
    if (clock.timeMs >= this.probeAtMs) {
      if (this.current !== null) this.conclude(this.current)
      this.begin()
    }
  }

  /** An answer to a ping of this node's, direct or passed on. */
  acked(number: number, from: NodeId): void {
    const probe = this.current
    if (probe?.number === number && (from === probe.target || probe.helpers?.includes(from) === true)) probe.answered = true
    const relay = this.relays.get(number)
    if (relay === undefined || relay.target !== from) return
    this.relays.delete(number)
    this.core.send(relay.requester, { kind: 'ack', number: relay.theirNumber, news: this.core.newsFor(relay.requester) })
  }

  nacked(number: number, from: NodeId): void {
    if (this.current?.number === number && this.current.helpers?.includes(from) === true) this.current.nacks++
  }

  /** Somebody asks this node to ping another. */
  help(requester: NodeId, theirNumber: number, target: NodeId): void {
    const { core } = this
    if (this.relays.size >= MAX_RELAYS) return
    if (core.table.get(target) === undefined) {
      core.send(requester, { kind: 'nack', number: theirNumber, news: core.newsFor(requester) })
      return
    }
    const number = ++this.lastNumber
    this.relays.set(number, { requester, theirNumber, target, endMs: core.clock.timeMs + core.config.probeTimeoutMs })
    core.send(target, { kind: 'ping', number, news: core.newsFor(target) })
  }

  private begin(): void {
    const { clock, config, health } = this.core
    const now = clock.timeMs
    const intervalMs = config.probeIntervalMs * health.multiplier
    this.probeAtMs = now + intervalMs
    this.current = null
    const entry = this.choose()
    if (entry === null) return
    const { nodeId: target, incarnation } = entry.signed.record
    const againAtMs = now + Math.min(intervalMs, config.probeTimeoutMs * health.multiplier)
    this.current = { number: ++this.lastNumber, target, targetKey: entry.signed.key, incarnation, againAtMs, endMs: this.probeAtMs, helpers: null, nacks: 0, answered: false }
    this.core.send(target, { kind: 'ping', number: this.current.number, news: this.core.newsFor(target) })
  }

  private choose(): Entry | null {
    const { table } = this.core
    for (let rounds = 0; rounds < 2; ) {
      const index = this.order.next(table.numbers.size)
      if (index === null) {
        rounds++
        continue
      }
      const entry = table.at(index)
      if (entry !== undefined && this.core.isOtherLive(entry)) return entry
    }
    return null
  }

  /** A lost message or two are not worth a suspicion. */
  private tryAgain(probe: Probe): void {
    const { core } = this
    const { number, target } = probe
    probe.againAtMs = core.clock.timeMs + (core.config.probeTimeoutMs * core.health.multiplier) / 2
    core.send(target, { kind: 'ping', number, news: core.newsFor(target) })
    if (probe.helpers !== null) return
    const helpers = core.table.sample(core.config.indirectProbes, core.random, (entry) => entry.state === 'alive' && core.isOther(entry) && entry.signed.record.nodeId !== target)
    probe.helpers = helpers.map(({ signed }) => signed.record.nodeId)
    for (const helper of probe.helpers) core.send(helper, { kind: 'ping-request', number, target, news: core.newsFor(helper, PACKET_HEAD_BYTES + textBytes(target)) })
  }

  private conclude(probe: Probe): void {
    const { core } = this
    if (probe.answered) {
      core.health.note(-1)
      return
    }
    // Helpers that do not even say "no answer" point to this node as the one that is badly off.
    const helpers = probe.helpers?.length ?? 0
    core.health.note(helpers === 0 ? 1 : helpers - probe.nacks)
    this.members.accuse('suspect', probe.targetKey, probe.incarnation, core.selfKey)
  }
}
