/**
 * Holds every body back while the memory for bodies is nearly used up. Each upload by itself is paused when its sink is full,
 * but the system hands over up to 512 KiB per socket in one go: a thousand sockets that become readable at once would bring
 * more than any sensible bound. So the pressure is looked at every few chunks, and when it is high all sockets rest, also
 * those whose turn in this round of the event loop is still to come.
 */

/** A request whose body can be held back. */
export interface Holdable {
  hold(): void
  release(): void
}

/** Chunks between two looks: together at most 4 MiB. */
const LOOK_EVERY_CHUNKS = 8
const LOOK_AGAIN_MS = 5

export class IntakeGate {
  readonly #full: () => boolean
  readonly #requests: Iterable<Holdable>
  #chunks = 0
  #timer: NodeJS.Timeout | null = null

  /** @param full whether bodies under way hold nearly all the memory that they may */
  constructor(full: () => boolean, requests: Iterable<Holdable>) {
    this.#full = full
    this.#requests = requests
  }

  /** Whether bodies are held back now: a new request's is held, too. */
  get closed(): boolean {
    return this.#timer !== null
  }

  /** A chunk was taken in. */
  chunk(): void {
    if (++this.#chunks < LOOK_EVERY_CHUNKS || this.closed) return
    this.#chunks = 0
    if (!this.#full()) return
    for (const request of this.#requests) request.hold()
    this.#timer = setInterval(() => {
      if (!this.#full()) this.open()
    }, LOOK_AGAIN_MS)
  }

  /** Lets all bodies go on. */
  open(): void {
    if (this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
    for (const request of this.#requests) request.release()
  }
}
