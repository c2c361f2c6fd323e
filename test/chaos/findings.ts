/** What was found wrong, told at once and kept for the summary. */

/** Of one kind so many are printed; the rest is counted. */
const PRINTED = 8

export class Findings {
  readonly #counts = new Map<string, number>()
  readonly #sinceMs: number

  constructor(sinceMs: number) {
    this.#sinceMs = sinceMs
  }

  add(kind: string, text: string): void {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count <= PRINTED) console.log(`✖ ${((performance.now() - this.#sinceMs) / 1000).toFixed(1)} s ${kind}: ${text}`)
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, one) => sum + one, 0)
  }

  get lines(): string[] {
    return [...this.#counts].map(([kind, count]) => `${count} × ${kind}`)
  }
}
