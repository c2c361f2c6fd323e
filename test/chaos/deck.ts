/** Which fault comes next: by weight, and every other turn one of those that no campaign goes without, until each has come. */
import type { Fault } from './faults/fault.ts'
import { Random } from './random.ts'

export class Deck {
  readonly #faults: readonly Fault[]
  /** Those that must come and have not yet. */
  readonly #owed: Fault[]

  constructor(faults: readonly Fault[], seed: number) {
    this.#faults = faults
    const always = faults.filter((fault) => fault.always === true)
    this.#owed = new Random(seed * 100_003 - 1).some(always, always.length)
  }

  /** For the turn of this number. */
  next(turn: number, random: Random): Fault {
    const drawn = random.weighted(this.#faults)
    return turn % 2 === 1 ? (this.#owed[0] ?? drawn) : drawn
  }

  /** It took place. */
  played(fault: Fault): void {
    const at = this.#owed.indexOf(fault)
    if (at >= 0) this.#owed.splice(at, 1)
  }

  get owed(): readonly Fault[] {
    return this.#owed
  }
}
