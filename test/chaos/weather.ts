/** Which faults are at work, and how the requests fared: what may fail, and what may not. */
import type { Answer } from './client.ts'

export interface Outcome {
  node: number
  what: string
  status: number
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
    this.outcomes.push({ node, what, status: answer.whole || answer.status >= 400 ? answer.status : 0, beganMs: answer.beganMs, tookMs: answer.headMs - answer.beganMs })
  }

  /** After a fault that began at `fromMs`: when the last request to these nodes began that failed or took longer than `slowMs`; 0 if none. */
  troubleMs(fromMs: number, toMs: number, nodes: (node: number) => boolean, slowMs: number): number {
    const bad = this.outcomes.filter((one) => one.beganMs >= fromMs && one.beganMs < toMs && nodes(one.node) && (isFailure(one) || one.tookMs > slowMs))
    return Math.max(0, ...bad.map(({ beganMs }) => beganMs - fromMs))
  }
}

export const isFailure = ({ status }: Outcome): boolean => status === 0 || status >= 500
