/**
 * What every client was told of one key, and whether one register could have answered so (linearizability). Each write has
 * a value of its own, so the check is that of Gibbons and Korach, "Testing Shared Memories" (1997), by zones: exact for
 * values, and for absence, which many deletes leave behind, necessary conditions. Times are those of the campaign's clock.
 */

export const ABSENT = -1

export interface Write {
  /** Its value; a delete's is ABSENT. */
  value: number
  /** For people. */
  what: string
  beganMs: number
  /** Infinity: nobody knows whether it took place, or when. */
  endedMs: number
}

export interface Read {
  value: number
  what: string
  beganMs: number
  endedMs: number
}

export class KeyHistory {
  readonly key: string
  readonly #writes: Write[] = []
  readonly #reads: Read[] = []

  constructor(key: string) {
    this.key = key
  }

  get writes(): readonly Write[] {
    return this.#writes
  }

  /** Of the acknowledged writes the one that ended last; null where there is none. */
  get last(): Write | null {
    return this.#writes.filter(isAcknowledged).reduce<Write | null>((last, one) => (last === null || one.endedMs > last.endedMs ? one : last), null)
  }

  /** Begins now and has no outcome until `acknowledged` or `refused`. */
  write(value: number, what: string): Write {
    const write = { value, what, beganMs: performance.now(), endedMs: Infinity }
    this.#writes.push(write)
    return write
  }

  acknowledged(write: Write): void {
    write.endedMs = performance.now()
  }

  /** It certainly never took place. */
  refused(write: Write): void {
    this.#writes.splice(this.#writes.indexOf(write), 1)
  }

  read(read: Read): void {
    this.#reads.push(read)
  }

  /** What no register can have answered; null when one could. */
  violation(): string | null {
    const zones = new Map<number, Zone>()
    for (const write of this.#writes) {
      if (write.value !== ABSENT) zones.set(write.value, { what: write.what, fromMs: write.endedMs, toMs: write.beganMs, beganMs: write.beganMs })
    }
    for (const read of this.#reads) {
      if (read.value === ABSENT) continue
      const zone = zones.get(read.value)
      if (zone === undefined) return `${read.what} saw a value that nobody wrote there`
      if (read.endedMs < zone.beganMs) return `${read.what} saw ${zone.what} before it began`
      zone.fromMs = Math.min(zone.fromMs, read.endedMs)
      zone.toMs = Math.max(zone.toMs, read.beganMs)
    }
    // an unknown write that nobody has seen may not have taken place
    const taken = [...zones.values()].filter(({ fromMs }) => fromMs < Infinity)
    return overlapping(taken) ?? this.#containedIn(taken) ?? this.#unjustifiedAbsence(taken)
  }

  /** All of it, the earliest first, for people. */
  story(sinceMs: number): string[] {
    const line = ({ what, beganMs, endedMs }: Write | Read): [number, string] =>
      [beganMs, `${seconds(beganMs - sinceMs)}–${endedMs === Infinity ? '?' : seconds(endedMs - sinceMs)} ${what}`]
    return [...this.#writes.map(line), ...this.#reads.map(line)].toSorted(([a], [b]) => a - b).map(([, text]) => text)
  }

  /** While a value is surely there nothing else can have been written and read. */
  #containedIn(taken: readonly Zone[]): string | null {
    const held = taken.filter(isForward)
    const moments: Zone[] = [
      ...taken.filter((zone) => !isForward(zone)).map((zone) => ({ ...zone, fromMs: zone.toMs, toMs: zone.fromMs })),
      ...this.#writes.filter((write) => write.value === ABSENT && isAcknowledged(write)).map(momentOf),
      ...this.#reads.filter(({ value }) => value === ABSENT).map(momentOf),
    ]
    for (const moment of moments) {
      const around = held.find(({ fromMs, toMs, what }) => what !== moment.what && fromMs < moment.fromMs && moment.toMs < toMs)
      if (around !== undefined) return `${moment.what} lies within the time in which ${around.what} was there`
    }
    return null
  }

  /** A key is absent after a delete, or at the beginning, unless something was surely written since. */
  #unjustifiedAbsence(taken: readonly Zone[]): string | null {
    const deletes = [{ what: 'the beginning', beganMs: -Infinity, endedMs: -Infinity }, ...this.#writes.filter(({ value }) => value === ABSENT)]
    for (const read of this.#reads.filter(({ value }) => value === ABSENT)) {
      const justified = deletes.some((one) => one.beganMs < read.endedMs &&
        !taken.some(({ beganMs, fromMs }) => beganMs > one.endedMs && fromMs < read.beganMs))
      if (!justified) return `${read.what} found nothing, after all deletes were followed by an acknowledged write`
    }
    return null
  }
}

/** From the end of the operation that ended first to the beginning of the one that began last: where from < to the value was there all that time. */
interface Zone {
  what: string
  fromMs: number
  toMs: number
  /** Of its write. */
  beganMs: number
}

const isForward = ({ fromMs, toMs }: Zone): boolean => fromMs < toMs
const isAcknowledged = ({ endedMs }: Write): boolean => endedMs < Infinity
const momentOf = ({ what, beganMs, endedMs }: Write | Read): Zone => ({ what, beganMs, fromMs: beganMs, toMs: endedMs })
const seconds = (ms: number): string => (ms / 1000).toFixed(3)

function overlapping(taken: readonly Zone[]): string | null {
  const held = taken.filter(isForward).toSorted((a, b) => a.fromMs - b.fromMs)
  for (let i = 1; i < held.length; i++) {
    const [before, after] = [held[i - 1]!, held[i]!]
    if (after.fromMs < before.toMs) return `${before.what} and ${after.what} were both there at one time`
  }
  return null
}
