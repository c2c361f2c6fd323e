/**
 * Time in which this node was really running. A process that got no CPU sees its timers late and its mail unread, and would
 * take that for the silence of others; so the time by which a call comes later than it was wanted does not count, and right
 * after it no verdict falls until the mail has been read.
 */

/** Lateness that any busy event loop has. */
const TOLERANCE_MS = 100
const MAX_GRACE_MS = 250
/** Or a node that is always late would never come to a verdict. */
const GRACE_EVERY_MS = 1000

export class RunningClock {
  private lostMs = 0
  private lastMs: number
  private wantedAtMs = Infinity
  private graceUntilMs = -Infinity

  constructor(nowMs: number) {
    this.lastMs = nowMs
  }

  /** Running time. */
  get timeMs(): number {
    return this.lastMs - this.lostMs
  }

  /** The driver's time. */
  get wallMs(): number {
    return this.lastMs
  }

  /** Until then deadlines that others missed are not held against them. Running time. */
  get verdictsFromMs(): number {
    return this.graceUntilMs
  }

  /** @returns by how much the call came too late, 0 where that is usual */
  advance(nowMs: number): number {
    const now = Math.max(nowMs, this.lastMs)
    const lateMs = now - Math.max(this.wantedAtMs, this.lastMs)
    this.lastMs = now
    if (lateMs <= TOLERANCE_MS) return 0
    this.lostMs += lateMs
    if (this.timeMs >= this.graceUntilMs - MAX_GRACE_MS + GRACE_EVERY_MS) this.graceUntilMs = this.timeMs + Math.min(lateMs, MAX_GRACE_MS)
    return lateMs
  }

  /** When the next call is wanted, in running time. @returns the same in the driver's time */
  want(timeMs: number): number {
    this.wantedAtMs = timeMs + this.lostMs
    return this.wantedAtMs
  }
}
