/** SWIM's failure detector: one member in each interval, directly, then with the help of others. */
import type { NodeId } from '../../shared/ids.ts'
import type { Core } from './core.ts'
import type { Members } from './members.ts'
import { PACKET_HEAD_BYTES } from './message-codec.ts'
import { ProbeOrder } from './probe-order.ts'
import type { Entry } from './table.ts'
import { textBytes } from './wire.ts'

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
  /** Unanswered ones by number: two or so, as a probe may last longer than the interval. */
  private readonly probes = new Map<number, Probe>()
  private readonly relays = new Map<number, Relay>()
  private probeAtMs: number
  /** When the first of the probes and relays is due. */
  private dueMs = Infinity
  private lastNumber = 0
  /** Whom the driver was told to expect. */
  private expected: Entry | null = null

  constructor(core: Core, members: Members) {
    this.core = core
    this.members = members
    this.order = new ProbeOrder(core.random)
    this.probeAtMs = core.clock.timeMs + core.random() * core.config.probeIntervalMs
  }

  get nextMs(): number {
    return Math.max(Math.min(this.probeAtMs, this.dueMs), this.core.clock.verdictsFromMs)
  }

  tick(): void {
    const { clock } = this.core
    if (clock.timeMs < clock.verdictsFromMs) return
    if (clock.timeMs >= this.dueMs) this.due()
    if (clock.timeMs >= this.probeAtMs) this.begin()
  }

  private due(): void {
    const { clock } = this.core
    for (const probe of this.probes.values()) {
      if (clock.timeMs >= probe.endMs) this.fail(probe)
      else if (clock.timeMs >= probe.againAtMs) this.tryAgain(probe)
    }
    for (const [number, relay] of this.relays) {
      if (clock.timeMs < relay.endMs) continue
      this.relays.delete(number)
      this.core.send(relay.requester, { kind: 'nack', number: relay.theirNumber, news: this.core.newsFor(relay.requester) })
    }
    this.findDue()
  }

  private findDue(): void {
    this.dueMs = Infinity
    for (const { againAtMs, endMs } of this.probes.values()) this.dueMs = Math.min(this.dueMs, againAtMs, endMs)
    for (const { endMs } of this.relays.values()) this.dueMs = Math.min(this.dueMs, endMs)
  }

  /** An answer to a ping of this node's, direct or passed on. */
  acked(number: number, from: NodeId): void {
    const probe = this.probes.get(number)
    if (probe !== undefined && (from === probe.target || probe.helpers?.includes(from) === true)) {
      this.probes.delete(number)
      this.findDue()
      this.core.health.note(-1)
    }
    const relay = this.relays.get(number)
    if (relay === undefined || relay.target !== from) return
    this.relays.delete(number)
    this.findDue()
    this.core.send(relay.requester, { kind: 'ack', number: relay.theirNumber, news: this.core.newsFor(relay.requester) })
  }

  nacked(number: number, from: NodeId): void {
    const probe = this.probes.get(number)
    if (probe?.helpers?.includes(from) === true) probe.nacks++
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
    this.findDue()
    core.ping(target, number)
  }

  private begin(): void {
    const { clock, config, health } = this.core
    this.probeAtMs = clock.timeMs + config.probeIntervalMs * health.multiplier
    const entry = this.upcoming()
    if (entry === null) return
    this.expected = this.choose()
    if (this.expected !== null) this.expect(this.expected)
    const { nodeId: target, incarnation } = entry.signed.record
    const number = ++this.lastNumber
    this.probes.set(number, {
      number,
      target,
      targetKey: entry.signed.key,
      incarnation,
      againAtMs: clock.timeMs + config.probeTimeoutMs * health.multiplier,
      endMs: clock.timeMs + config.probeEndMs * health.multiplier,
      helpers: null,
      nacks: 0,
    })
    this.findDue()
    this.core.ping(target, number)
  }

  /** As it was expected, unless that one is gone. */
  private upcoming(): Entry | null {
    const entry = this.expected === null ? undefined : this.core.table.get(this.expected.signed.record.nodeId)
    return entry !== undefined && this.core.isOtherLive(entry) ? entry : this.choose()
  }

  private expect({ signed: { record } }: Entry): void {
    this.core.output({ kind: 'expect', to: record.nodeId, addrs: record.addrs })
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
    core.ping(target, number)
    if (probe.helpers !== null) return
    const helpers = core.table.sample(core.config.indirectProbes, core.random, (entry) => entry.state === 'alive' && core.isOther(entry) && entry.signed.record.nodeId !== target)
    probe.helpers = helpers.map(({ signed }) => signed.record.nodeId)
    for (const helper of probe.helpers) core.send(helper, { kind: 'ping-request', number, target, news: core.newsFor(helper, PACKET_HEAD_BYTES + textBytes(target)) })
  }

  private fail(probe: Probe): void {
    const { core } = this
    this.probes.delete(probe.number)
    // Helpers that do not even say "no answer" point to this node as the one that is badly off.
    const helpers = probe.helpers?.length ?? 0
    core.health.note(helpers === 0 ? 1 : helpers - probe.nacks)
    this.members.accuse('suspect', probe.targetKey, probe.incarnation, core.selfKey)
  }
}
