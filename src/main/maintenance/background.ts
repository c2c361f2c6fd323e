/**
 * Background work in one place: each task runs by itself at its own pace, one round at a time, with its progress to be
 * seen. A round that fails is logged and tried again later; it never takes the node down.
 */
import type { Logger } from 'pino'

/** What a task has done; shown to operators. Counters only grow. */
export interface Progress {
  /** What it is doing now, for people. */
  now: string
  counters: Record<string, number>
}

export interface BackgroundTask {
  name: string
  /** Pause after a round that found nothing more to do. */
  idleMs: number
  /** Pause between rounds while there is more. @default 0 */
  busyMs?: number
  /** One bounded round. True: there is more to do. */
  round(progress: Progress, signal: AbortSignal): Promise<boolean>
}

export interface TaskStatus extends Progress {
  name: string
  /** What it did, or waited for, when its last round ended: a round may be too short to be seen. */
  last: string
  state: 'idle' | 'running' | 'paused'
  rounds: number
  failures: number
  lastError: string
  lastRoundMs: number | null
}

interface Running {
  status: TaskStatus
  task: BackgroundTask
  loop: Promise<void>
  wake: () => void
}

const RETRY_MS = 5000

export class BackgroundWork {
  readonly #logger: Logger
  readonly #abort = new AbortController()
  readonly #running: Running[] = []

  constructor(logger: Logger) {
    this.#logger = logger
  }

  start(task: BackgroundTask): void {
    const status: TaskStatus = {
      name: task.name, state: 'idle', rounds: 0, failures: 0, lastError: '', lastRoundMs: null, now: '', last: '', counters: {},
    }
    const entry: Running = { status, task, loop: Promise.resolve(), wake: () => {} }
    entry.loop = this.#loop(entry)
    this.#running.push(entry)
  }

  /** Starts the next round of a task now, if it waits. */
  wake(name: string): void {
    for (const entry of this.#running) if (entry.status.name === name) entry.wake()
  }

  get status(): readonly TaskStatus[] {
    return this.#running.map((entry) => entry.status)
  }

  /** Resolves when every running round has ended. */
  async stop(): Promise<void> {
    this.#abort.abort()
    for (const entry of this.#running) entry.wake()
    await Promise.all(this.#running.map(({ loop }) => loop))
  }

  async #loop(entry: Running): Promise<void> {
    const { status, task } = entry
    const { signal } = this.#abort
    while (!signal.aborted) {
      let pauseMs: number
      try {
        status.state = 'running'
        const more = await task.round(status, signal)
        status.rounds++
        status.lastRoundMs = Date.now()
        status.lastError = ''
        pauseMs = more ? (task.busyMs ?? 0) : task.idleMs
      } catch (error) {
        status.failures++
        status.lastError = error instanceof Error ? error.message : String(error)
        if (!signal.aborted) this.#logger.warn({ err: error, task: task.name }, `background work failed, trying again: ${status.lastError}`)
        pauseMs = RETRY_MS
      }
      status.state = 'idle'
      status.last = status.now
      status.now = ''
      if (!signal.aborted) await this.#pause(entry, pauseMs)
    }
  }

  #pause(entry: { wake: () => void }, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms)
      function done(): void {
        clearTimeout(timer)
        entry.wake = () => {}
        resolve()
      }
      entry.wake = done
    })
  }
}

/** Adds to a counter of a task. */
export function count(progress: Progress, counter: string, by = 1): void {
  progress.counters[counter] = (progress.counters[counter] ?? 0) + by
}
