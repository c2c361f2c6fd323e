/** This node's own record: nobody else raises it. Refutes what others say against it, and notices its own double. */
import type { NodeId } from '../../shared/ids.ts'
import type { MemberRecord } from '../membership/contract.ts'
import type { SignedRecord, SwimOptions } from './contract.ts'
import type { Core } from './core.ts'
import { recordNews } from './news-codec.ts'
import { MAX_INCARNATION, signRecord } from './record-codec.ts'
import { viewOf } from './view.ts'

export type SelfUpdate = Partial<Omit<MemberRecord, 'nodeId' | 'processId' | 'incarnation' | 'region'>>

/** Changes that come faster go out together. */
const UPDATE_EVERY_MS = 1000
/** Two processes with one key would go on outdoing each other. */
const OUTDO_EVERY_MS = 5000

export class OwnRecord {
  private readonly core: Core
  private readonly sign: SwimOptions['sign']
  private current: SignedRecord
  private pending: SelfUpdate | null = null
  private updateAtMs = -Infinity
  /** The other process's incarnation that this one last went above. */
  private double: { processId: string; incarnation: number } | null = null
  private outdoAtMs = -Infinity
  /** Its incarnation that is to be outdone then. */
  private toOutdo: number | null = null

  constructor(core: Core, record: MemberRecord, sign: SwimOptions['sign']) {
    this.core = core
    this.sign = sign
    const known = core.table.get(record.nodeId)?.signed
    this.current = known ?? signRecord(record, false, sign)
    // A simulation begins with tables that hold all.
    if (known !== undefined) return
    core.set(viewOf(this.current, 'alive'))
    core.tellRecord(this.current)
  }

  get signed(): SignedRecord {
    return this.current
  }

  get leaving(): boolean {
    return this.current.leaving
  }

  get nextMs(): number {
    return Math.min(this.pending === null ? Infinity : this.updateAtMs, this.toOutdo === null ? Infinity : this.outdoAtMs)
  }

  tick(): void {
    if (this.toOutdo !== null && this.core.clock.timeMs >= this.outdoAtMs) this.outdo(this.toOutdo)
    if (this.pending === null || this.core.clock.timeMs < this.updateAtMs) return
    const changed = this.pending
    this.pending = null
    this.updateAtMs = this.core.clock.timeMs + UPDATE_EVERY_MS
    this.raise(this.current.record.incarnation, changed)
  }

  update(part: SelfUpdate): void {
    this.pending = { ...this.pending, ...part }
    this.tick()
  }

  leave(): void {
    if (!this.leaving) this.raise(this.current.record.incarnation, {}, true)
  }

  /** Somebody suspects this node or holds it for dead. @returns false: in an incarnation above its own, whose record must be seen first */
  accused(incarnation: number, from: NodeId): boolean {
    if (this.leaving) return true
    if (incarnation > this.current.record.incarnation) return false
    if (incarnation === this.current.record.incarnation && incarnation < MAX_INCARNATION) {
      this.raise(incarnation, {})
      this.core.health.note(1)
    }
    this.tell(from)
    return true
  }

  /** Another's copy of this node's record. */
  heard({ record }: SignedRecord, from: NodeId): void {
    const mine = this.current.record
    if (record.incarnation < mine.incarnation || (record.incarnation === mine.incarnation && record.processId === mine.processId)) return
    if (record.processId !== mine.processId) {
      // A life before this one is outdone once. Who comes back above that is alive.
      if (this.double?.processId === record.processId && record.incarnation > this.double.incarnation) {
        this.core.problem(mine.nodeId, 'duplicate-node', `another process (${record.processId}, started ${new Date(record.startedMs).toISOString()}) runs with this node's key: a copied state directory?`)
      }
      this.double = { processId: record.processId, incarnation: record.incarnation }
    }
    this.toOutdo = Math.max(record.incarnation, this.toOutdo ?? 0)
    if (this.core.clock.timeMs < this.outdoAtMs) return
    this.outdo(this.toOutdo)
    this.tell(from)
  }

  private outdo(incarnation: number): void {
    this.toOutdo = null
    this.outdoAtMs = this.core.clock.timeMs + OUTDO_EVERY_MS
    const above = Math.max(incarnation, this.current.record.incarnation)
    if (above < MAX_INCARNATION) this.raise(above, {}, this.leaving)
  }

  private raise(above: number, changed: SelfUpdate, leaving = false): void {
    const record = { ...this.current.record, ...changed, incarnation: above + 1 }
    this.current = signRecord(record, leaving, this.sign)
    this.core.set(viewOf(this.current, 'alive'), this.core.clock.wallMs)
    this.core.tellRecord(this.current)
  }

  private tell(to: NodeId): void {
    if (to !== this.core.selfId) this.core.send(to, { kind: 'gossip', news: [recordNews(this.current)] })
  }
}
