/** Why peers could not be had: a list for `anvil cluster status`, and one log line when something on it is new or over. */
import type { Logger } from '../observability/logger.ts'
import type { PeerProblem } from './contract.ts'

/** Anybody who reaches the port can cause some: more push the oldest out. */
const MAX_PROBLEMS = 64
/** What has not been seen again for so long is over. */
const FORGET_MS = 15 * 60_000
/** New lines a minute; the rest is only counted. */
const MAX_LINES = 20
const LINES_EVERY_MS = 60_000

/** Stay until the node restarts: nobody tries these again. */
const LASTING = new Set<PeerProblem['kind']>(['own-address'])

interface Known extends PeerProblem {
  seenMs: number
}

export class Problems {
  readonly #logger: Logger
  readonly #nowMs: () => number
  #known = new Map<string, Known>()
  #lines = { sinceMs: 0, count: 0, kept: 0 }

  constructor(logger: Logger, nowMs: () => number = Date.now) {
    this.#logger = logger
    this.#nowMs = nowMs
  }

  /** The oldest first. */
  get list(): PeerProblem[] {
    this.#forget()
    return [...this.#known.values()].map(({ peer, kind, text, sinceMs }) => ({ peer, kind, text, sinceMs }))
  }

  has(peer: string, kind: PeerProblem['kind']): boolean {
    return this.#known.has(`${kind} ${peer}`)
  }

  report(peer: string, kind: PeerProblem['kind'], text: string): void {
    this.#forget()
    const nowMs = this.#nowMs()
    const key = `${kind} ${peer}`
    const known = this.#known.get(key)
    if (known !== undefined) {
      known.seenMs = nowMs
      known.text = text
      return
    }
    if (this.#known.size >= MAX_PROBLEMS) this.#known.delete(this.#known.keys().next().value!)
    this.#known.set(key, { peer, kind, text, sinceMs: nowMs, seenMs: nowMs })
    this.#say(() => this.#logger.warn({ peer, problem: kind }, `peer ${peer}: ${text}`))
  }

  /** The peer is fine again, in this respect or (without kinds) in all that can pass. */
  clear(peer: string, ...kinds: PeerProblem['kind'][]): void {
    for (const [key, problem] of this.#known) {
      if (problem.peer !== peer || (kinds.length === 0 ? LASTING.has(problem.kind) : !kinds.includes(problem.kind))) continue
      this.#known.delete(key)
      this.#say(() => this.#logger.info({ peer, problem: problem.kind }, `peer ${peer}: no longer a problem: ${problem.text}`))
    }
  }

  #forget(): void {
    const oldestMs = this.#nowMs() - FORGET_MS
    for (const [key, { kind, seenMs }] of this.#known) if (seenMs < oldestMs && !LASTING.has(kind)) this.#known.delete(key)
  }

  /** A flood of strangers must not fill the log. */
  #say(line: () => void): void {
    const nowMs = this.#nowMs()
    if (nowMs - this.#lines.sinceMs >= LINES_EVERY_MS) {
      if (this.#lines.kept > 0) this.#logger.warn(`${this.#lines.kept} more lines about problems with peers were left out`)
      this.#lines = { sinceMs: nowMs, count: 0, kept: 0 }
    }
    if (this.#lines.count++ < MAX_LINES) line()
    else this.#lines.kept++
  }
}
