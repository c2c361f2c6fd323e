/** Which faults are at work, and how the requests fared: what may fail, and what may not. */
import type { Answer } from './client.ts'

export interface Outcome {
  node: number
  what: string
  status: number
  code: string
  beganMs: number
  tookMs: number
}

/** So long after a fault its traces may be seen: leases, back-offs, a busy machine. */
const CALM_AFTER_MS = 20_000

export class Weather {
  readonly outcomes: Outcome[] = []
  /** So many have begun. */
  begun = 0
  readonly #faults = new Set<string>()
  #lastMs = -Infinity

  begins(fault: string): void {
    this.begun++
    this.#faults.add(fault)
  }

  get running(): number {
    return this.#faults.size
  }

  ends(fault: string): void {
    this.#faults.delete(fault)
    this.#lastMs = performance.now()
  }

  /** Nothing was done to the cluster when the request began, nor a while before. */
  calmSince(beganMs: number): boolean {
    return this.#faults.size === 0 && beganMs - this.#lastMs > CALM_AFTER_MS
  }

  note(node: number, what: string, answer: Answer): void {
    this.outcomes.push({ node, what, status: answer.whole || answer.status >= 400 ? answer.status : 0, code: answer.code || answer.failure, beganMs: answer.beganMs, tookMs: answer.headMs - answer.beganMs })
  }

  /** Of the requests to these nodes that began in a time: those that failed, and those that took longer than `slowMs`. */
  trouble(fromMs: number, toMs: number, nodes: (node: number) => boolean, slowMs: number): { failed: Outcome[]; slow: Outcome[] } {
    const asked = this.outcomes.filter((one) => one.beganMs >= fromMs && one.beganMs < toMs && nodes(one.node)).toSorted((a, b) => a.beganMs - b.beganMs)
    return { failed: asked.filter(isFailure), slow: asked.filter((one) => !isFailure(one) && one.tookMs > slowMs) }
  }
}

export const isFailure = ({ status }: Outcome): boolean => status === 0 || status >= 500
