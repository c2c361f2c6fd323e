/** What mDNS finds is said again and again, and anybody on the network can say it: how much of it is dialled. */

/** One address again after this time. */
const AGAIN_MS = 30_000
/** So many new ones in a time. */
const MAX_NEW = 32
const NEW_EVERY_MS = 10_000
const MAX_REMEMBERED = 1024

export class Discoveries {
  #triedMs = new Map<string, number>()
  #window = { sinceMs: -Infinity, count: 0 }

  /** Whether this address is to be tried now. */
  admits(addr: string, nowMs: number): boolean {
    const tried = this.#triedMs.get(addr)
    if (tried !== undefined && nowMs - tried < AGAIN_MS) return false
    if (nowMs - this.#window.sinceMs >= NEW_EVERY_MS) this.#window = { sinceMs: nowMs, count: 0 }
    if (this.#window.count++ >= MAX_NEW) return false
    if (this.#triedMs.size >= MAX_REMEMBERED) this.#triedMs.clear()
    this.#triedMs.set(addr, nowMs)
    return true
  }
}
