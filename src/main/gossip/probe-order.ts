/**
 * Round-robin in random order over 0 … n-1, where n may grow: a newcomer lands at a random place of what is left of the round,
 * as SWIM wants it. A Fisher-Yates shuffle that is made as it is walked, so memory is in proportion to the steps taken.
 */
export class ProbeOrder {
  private readonly moved = new Map<number, number>()
  private step = 0
  private readonly random: () => number

  constructor(random: () => number) {
    this.random = random
  }

  /** null at the end of a round; the next call begins a new one. */
  next(size: number): number | null {
    if (this.step >= size) {
      this.step = 0
      this.moved.clear()
      return null
    }
    const drawn = this.step + Math.floor(this.random() * (size - this.step))
    const chosen = this.moved.get(drawn) ?? drawn
    this.moved.set(drawn, this.moved.get(this.step) ?? this.step)
    this.moved.delete(this.step)
    this.step++
    return chosen
  }
}
