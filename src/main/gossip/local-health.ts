/**
 * Lifeguard's local health multiplier: how far this node may trust its own failure to hear from others. Bad signs (missed
 * answers, being suspected, a late event loop) raise it, good probes lower it, timeouts grow with it.
 */
export class LocalHealth {
  private value = 0
  private readonly max: number

  constructor(max: number) {
    this.max = max
  }

  /** 0: well. */
  get score(): number {
    return this.value
  }

  get multiplier(): number {
    return this.value + 1
  }

  note(change: number): void {
    this.value = Math.min(this.max - 1, Math.max(0, this.value + change))
  }
}
