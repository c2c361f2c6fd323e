/** How records, accusations and others' tables change the view of the members, and when suspicion becomes certainty. */
import type { NodeId } from '../../shared/ids.ts'
import { isTold, suspicionMs } from './config.ts'
import type { SignedRecord, TableEntry } from './contract.ts'
import type { Core } from './core.ts'
import { accusationNews } from './news-codec.ts'
import { memberKey, verifyRecord } from './record-codec.ts'
import { type Entry, isLive } from './table.ts'
import { compareRecords, mergeViews, outranks, viewOf } from './view.ts'

interface Suspicion {
  /** Of the suspected; the accusers are keys too. */
  readonly key: number
  readonly incarnation: number
  readonly sinceMs: number
  readonly accusers: Set<number>
  deadlineMs: number
}

/** For so long after its start a node takes whom it hears of in tables for known to all. */
const SETTLING_MS = 10_000
const FORGET_EVERY_MS = 60_000
/** The accuser where a table tells of a suspicion but not whose it is: all of these count as one. */
const HEARSAY = 0

export class Members {
  private readonly core: Core
  private readonly suspicions = new Map<number, Suspicion>()
  /** The earliest of their deadlines. */
  private deadlineMs = Infinity
  private readonly settledAtMs: number
  private forgetAtMs: number

  constructor(core: Core) {
    this.core = core
    this.settledAtMs = core.clock.timeMs + SETTLING_MS
    this.forgetAtMs = core.clock.timeMs + Math.min(FORGET_EVERY_MS, core.config.forgetMs)
  }

  get nextMs(): number {
    return this.deadlineMs === Infinity ? this.forgetAtMs : Math.min(this.forgetAtMs, Math.max(this.deadlineMs, this.core.clock.verdictsFromMs))
  }

  tick(): void {
    const { clock } = this.core
    if (clock.timeMs >= this.forgetAtMs) this.forgetOld()
    if (clock.timeMs < this.deadlineMs || clock.timeMs < clock.verdictsFromMs) return
    for (const { key, incarnation, deadlineMs } of [...this.suspicions.values()]) {
      if (clock.timeMs < deadlineMs) continue
      this.accuse('dead', key, incarnation, this.core.selfKey)
      this.close(key)
    }
  }

  /** A record that its node signed. Not this node's own. @returns whether the member is in the table now */
  learn(signed: SignedRecord, from: NodeId): boolean {
    const known = this.core.table.get(signed.record.nodeId)
    if (known !== undefined && compareRecords(signed, known.signed) <= 0) return true
    if (!this.admit(signed, from)) return known !== undefined
    this.replace(signed, known, true)
    return true
  }

  /** @returns false when the record it is about is not known here: ask whoever said it */
  accuse(kind: 'suspect' | 'dead', key: number, incarnation: number, by: number): boolean {
    const entry = this.core.table.byKey(key)
    if (entry === undefined || entry.signed.record.incarnation < incarnation) return false
    if (entry.signed.record.incarnation > incarnation) return true
    if (outranks(kind, entry.state)) {
      if (kind === 'dead') this.die(entry, by)
      else this.suspect(entry, by)
    } else if (kind === 'suspect' && entry.state === 'suspect') this.confirm(entry, by)
    return true
  }

  /** @returns whether the record that a notice speaks of, or a newer one, is here */
  knows(key: number, incarnation: number): boolean {
    const entry = this.core.table.byKey(key)
    return entry !== undefined && entry.signed.record.incarnation >= incarnation
  }

  /** A member out of another's table. Not this node's own. */
  mergeEntry({ signed, state, goneMs }: TableEntry, from: NodeId): void {
    const { core } = this
    const known = core.table.get(signed.record.nodeId)
    const theirs = viewOf(signed, state)
    const isGone = theirs.state === 'dead' || theirs.state === 'left'
    const goneAtMs = core.clock.wallMs - goneMs
    if (known === undefined && isGone) {
      if (isTold(core.config, goneMs) && this.admit(signed, from)) core.set(theirs, goneAtMs)
      return
    }
    const order = known === undefined ? 1 : compareRecords(signed, known.signed)
    if (order < 0) return
    if (order === 0) {
      // The same death, told by two: it is as old as the older of them says.
      if (isGone && known!.state === theirs.state && goneAtMs < known!.goneAtMs) core.table.set(known!, known!.changedMs, goneAtMs)
    } else {
      if (!this.admit(signed, from)) return
      if (known !== undefined && !isLive(known) && theirs.state === 'dead') {
        core.set(theirs, Math.max(goneAtMs, known.goneAtMs))
        return
      }
      this.replace(signed, known, known !== undefined || core.clock.timeMs >= this.settledAtMs, goneAtMs)
    }
    // Somebody's word that a member is dead gives it time to object: after a partition each half holds the other for dead.
    if (theirs.state === 'suspect' || theirs.state === 'dead') this.accuse('suspect', signed.key, signed.record.incarnation, theirs.state === 'dead' ? memberKey(from) : HEARSAY)
  }

  private admit(signed: SignedRecord, from: NodeId): boolean {
    const { core } = this
    const { nodeId, region } = signed.record
    if (region !== core.region) {
      core.problem(nodeId, 'wrong-region', `${nodeId} belongs to region ${region}; this node to ${core.region}`)
      return false
    }
    if (!verifyRecord(signed, core.verify)) {
      core.problem(from, 'protocol', `${from} passed on a record of ${nodeId} whose signature is wrong`)
      return false
    }
    if (core.table.size >= core.config.maxMembers && core.table.get(nodeId) === undefined) {
      core.problem(from, 'protocol', `${from} told of ${nodeId}, but ${core.table.size} members are known already, and there is room for no more`)
      return false
    }
    return true
  }

  private replace(signed: SignedRecord, known: Entry | undefined, tellOthers: boolean, goneAtMs = this.core.clock.wallMs): void {
    const { core } = this
    const { nodeId, incarnation, processId, startedMs } = signed.record
    if (known !== undefined && known.signed.record.processId !== processId && startedMs < known.signed.record.startedMs) {
      core.problem(nodeId, 'duplicate-node', `${nodeId} is announced by two processes (${processId} and ${known.signed.record.processId}): a copied state directory, or a clock that was set back`)
    }
    const fresh = viewOf(signed, 'alive')
    const view = known === undefined ? fresh : mergeViews(fresh, known)
    if (known?.signed.record.incarnation !== incarnation || view.state === 'left') this.close(signed.key)
    core.set(view, goneAtMs)
    if (tellOthers) core.tellRecord(signed)
  }

  private suspect(entry: Entry, by: number): void {
    const { core } = this
    const { key, record: { incarnation } } = entry.signed
    const nowMs = core.clock.timeMs
    core.set(viewOf(entry.signed, 'suspect'))
    const suspicion: Suspicion = { key, incarnation, sinceMs: nowMs, accusers: new Set([by]), deadlineMs: nowMs + suspicionMs(core.config, core.table.liveCount, 0) }
    this.suspicions.set(key, suspicion)
    this.findDeadline()
    this.passOn('suspect', entry, by)
  }

  private confirm(entry: Entry, by: number): void {
    const { config, table } = this.core
    const suspicion = this.suspicions.get(entry.signed.key)
    if (suspicion === undefined || suspicion.accusers.has(by) || suspicion.accusers.size > config.suspicionConfirmations) return
    suspicion.accusers.add(by)
    suspicion.deadlineMs = suspicion.sinceMs + suspicionMs(config, table.liveCount, suspicion.accusers.size - 1)
    this.findDeadline()
    this.passOn('suspect', entry, by, true)
  }

  /** Refuted, or judged. */
  private close(key: number): void {
    if (this.suspicions.delete(key)) this.findDeadline()
  }

  private findDeadline(): void {
    this.deadlineMs = Infinity
    for (const { deadlineMs } of this.suspicions.values()) this.deadlineMs = Math.min(this.deadlineMs, deadlineMs)
  }

  private die(entry: Entry, by: number): void {
    const { core } = this
    this.close(entry.signed.key)
    core.set(viewOf(entry.signed, 'dead'), core.clock.wallMs)
    this.passOn('dead', entry, by)
  }

  /** A record that is still going round stays: who has not seen it cannot understand the accusation. */
  private passOn(kind: 'suspect' | 'dead', { signed: { key, record } }: Entry, by: number, isConfirmation = false): void {
    const news = accusationNews(kind, key, record.incarnation, by)
    // Confirmations shorten the time of suspicion. The first whose time is out tells all.
    this.core.tell(record.nodeId, news, (old) => kind === 'dead' && old.kind === 'suspect', isConfirmation ? null : news)
  }

  private forgetOld(): void {
    const { core } = this
    const { forgetMs } = core.config
    this.forgetAtMs = core.clock.timeMs + Math.min(FORGET_EVERY_MS, forgetMs)
    for (const entry of core.table.gone()) {
      if (core.clock.wallMs - entry.goneAtMs < forgetMs) continue
      core.table.remove(entry)
      core.output({ kind: 'forgotten', nodeId: entry.signed.record.nodeId })
    }
  }
}

