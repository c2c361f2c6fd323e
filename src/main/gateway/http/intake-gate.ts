/**
 * Holds every body back while the memory for bodies is nearly used up. Each upload by itself is paused when its sink is full,
 * but the system hands over up to some MiB per socket in one go: a thousand sockets that become readable at once would bring
 * more than any sensible bound. So the pressure is looked at after every chunk, and when it is high all sockets rest, also
 * those whose turn in this round of the event loop is still to come. Beyond the mark comes what the one socket that is
 * being read has to give.
 */
import type { KeptBytes } from './request-body.ts'

/** A request whose body can be held back. */
export interface Holdable {
  hold(): void
  release(): void
}

export interface IntakeMemory extends KeptBytes {
  /** How much of the memory that bodies may have is used; 1 is all of it. */
  pressure(): number
}

/**
 * Above three quarters nothing is admitted, and what is used there are chunks that came when their upload's stripe was full:
 * it becomes less by itself. The marks lie apart, since a thousand sockets are not held and released for nothing.
 */
const CLOSE_ABOVE = 0.85
const OPEN_BELOW = 0.8
const LOOK_AGAIN_MS = 5

export class IntakeGate {
  readonly #pressure: () => number
  readonly #requests: Iterable<Holdable>
  #timer: NodeJS.Timeout | null = null

  constructor(pressure: () => number, requests: Iterable<Holdable>) {
    this.#pressure = pressure
    this.#requests = requests
  }

  /** Whether bodies are held back now: a new request's is held, too. */
  get closed(): boolean {
    return this.#timer !== null
  }

  /** A chunk was taken in. */
  chunk(): void {
    if (this.closed || this.#pressure() <= CLOSE_ABOVE) return
    for (const request of this.#requests) request.hold()
    this.#timer = setInterval(() => {
      if (this.#pressure() < OPEN_BELOW) this.open()
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
