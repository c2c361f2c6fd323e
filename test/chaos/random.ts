/** Draws from a seed. */
import { mulberry32 } from '../support/random.ts'

export class Random {
  readonly #next: () => number

  constructor(seed: number) {
    this.#next = mulberry32(seed)
  }

  /** Integer from `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.#next() * (to - from + 1))
  }

  chance(probability: number): boolean {
    return this.#next() < probability
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#next() * from.length)]!
  }

  /** So many different ones. */
  some<T>(from: readonly T[], count: number): T[] {
    const left = [...from]
    return Array.from({ length: Math.min(count, left.length) }, () => left.splice(Math.floor(this.#next() * left.length), 1)[0]!)
  }

  /** By weight. */
  weighted<T extends { weight: number }>(from: readonly T[]): T {
    let at = this.#next() * from.reduce((sum, { weight }) => sum + weight, 0)
    return from.find(({ weight }) => (at -= weight) < 0) ?? from.at(-1)!
  }
}
