/** The gateways of a process, wherever they run: on the main thread, or in threads that share the port. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { PgId } from '../../shared/ids.ts'
import type { FromThread, GatewayReport, NodeView, ThreadData, ToThread } from './messages.ts'
import type { GatewayRuntime } from './runtime.ts'

export interface Gateways {
  listen(): Promise<{ port: number }>
  /** Hands on what changed: drives, health. */
  update(view: NodeView): void
  /** What runs in all of them now. */
  report(): Promise<{ inUse: ReadonlySet<PgId>; oldestReadMs: number | null }>
  drain(ms: number): Promise<void>
  close(): Promise<void>
}

const merge = (reports: readonly GatewayReport[]): { inUse: ReadonlySet<PgId>; oldestReadMs: number | null } => {
  const starts = reports.flatMap((report) => report.oldestReadMs ?? [])
  return { inUse: new Set(reports.flatMap((report) => report.inUse)), oldestReadMs: starts.length === 0 ? null : Math.min(...starts) }
}

/** The gateway on the main thread. Its runtime reads the view through its host, so `update` has nothing to do. */
export const mainThreadGateways = (runtime: GatewayRuntime): Gateways => ({
  listen: () => runtime.listen(),
  update: () => {},
  report: () => Promise.resolve(merge([{ inUse: runtime.inUse(), oldestReadMs: runtime.oldestReadMs() }])),
  drain: (ms) => runtime.drain(ms),
  close: () => Promise.resolve(),
})

/**
 * @param onDeath called when a thread ends by an error: its connections are gone with it, and the node must not go on as if
 *   nothing were
 */
export async function threadGateways(count: number, data: ThreadData, onDeath: (error: Error) => void): Promise<Gateways> {
  const threads = await Promise.all(Array.from({ length: count }, () => GatewayThread.start(data, onDeath)))
  return {
    async listen() {
      const [first] = await Promise.all(threads.map(async (thread) => (await thread.ask('listen', { type: 'listen' })).port))
      return { port: first! }
    },
    update: (view) => {
      for (const thread of threads) thread.post({ type: 'view', view })
    },
    report: async () => merge(await Promise.all(threads.map(async (thread) => (await thread.ask('report', { type: 'report' })).report))),
    drain: async (ms) => {
      await Promise.all(threads.map((thread) => thread.ask('drain', { type: 'drain', ms })))
    },
    close: async () => {
      await Promise.all(threads.map((thread) => thread.close()))
    },
  }
}

class GatewayThread {
  readonly #worker: Worker
  /** Requests of each kind that wait for their answer, oldest first. */
  readonly #waiting = new Map<FromThread['type'], { resolve: (answer: FromThread) => void; reject: (error: Error) => void }[]>()
  #dead: Error | null = null

  private constructor(data: ThreadData, onDeath: (error: Error) => void) {
    this.#worker = new Worker(new URL('./thread.ts', import.meta.url), { workerData: data })
    this.#worker.on('message', (message: FromThread) => this.#waiting.get(message.type)?.shift()?.resolve(message))
    this.#worker.on('error', (error: Error) => {
      this.#dead = error
      for (const list of this.#waiting.values()) for (const { reject } of list.splice(0)) reject(error)
      onDeath(error)
    })
  }

  static async start(data: ThreadData, onDeath: (error: Error) => void): Promise<GatewayThread> {
    const thread = new GatewayThread(data, onDeath)
    await thread.#answer('created')
    return thread
  }

  post(message: ToThread): void {
    this.#worker.postMessage(message)
  }

  ask<T extends FromThread['type']>(type: T, message: ToThread): Promise<Extract<FromThread, { type: T }>> {
    const answer = this.#answer(type)
    this.post(message)
    return answer
  }

  async close(): Promise<void> {
    const ended = once(this.#worker, 'exit')
    await this.ask('close', { type: 'close' })
    await ended
  }

  #answer<T extends FromThread['type']>(type: T): Promise<Extract<FromThread, { type: T }>> {
    return new Promise((resolve, reject) => {
      if (this.#dead !== null) return reject(this.#dead)
      const list = this.#waiting.get(type) ?? []
      this.#waiting.set(type, list)
      list.push({ resolve: resolve as (answer: FromThread) => void, reject })
    })
  }
}
