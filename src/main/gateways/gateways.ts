/** The gateways of a process, wherever they run: on the main thread, or in threads that share the port. */
import { Worker } from 'node:worker_threads'
import type { PgId } from '../../shared/ids.ts'
import type { ClusterEvent } from '../membership/contract.ts'
import type { MetricValues } from '../observability/thread-metrics.ts'
import { setUwsLimits } from '../gateway/index.ts'
import type { FromThread, GatewayReport, NodeView, ThreadData, ToThread } from './messages.ts'
import type { GatewayRuntime } from './runtime.ts'

export interface Gateways {
  listen(): Promise<{ port: number }>
  /** Hands on what changed: drives, health. */
  update(view: NodeView): void
  /** Something was changed elsewhere: what is known of it by heart is forgotten, or read again. */
  hear(event: ClusterEvent): void
  /** Placement groups were sealed: open ones are looked up anew. */
  resetSlots(): void
  /** What runs in all of them now. */
  report(): Promise<{ inUse: ReadonlySet<PgId>; oldestReadMs: number | null }>
  /** Values of the metrics of each thread. */
  metrics(): Promise<MetricValues[]>
  /** No new requests; resolves when the running ones have ended or the time is over. A thread that has died has none. */
  drain(ms: number): Promise<void>
  close(): Promise<void>
}

const merge = (reports: readonly GatewayReport[]): { inUse: ReadonlySet<PgId>; oldestReadMs: number | null } => {
  const starts = reports.flatMap((report) => report.oldestReadMs ?? [])
  return { inUse: new Set(reports.flatMap((report) => report.inUse)), oldestReadMs: starts.length === 0 ? null : Math.min(...starts) }
}

/** The gateway on the main thread: its runtime has the node's own groups, and reads the view through its host. */
export const mainThreadGateways = (runtime: GatewayRuntime): Gateways => ({
  listen: () => runtime.listen(),
  update: () => {},
  hear: () => {},
  resetSlots: () => {},
  report: () => Promise.resolve(merge([{ inUse: runtime.inUse(), oldestReadMs: runtime.oldestReadMs() }])),
  metrics: async () => [await runtime.metrics()],
  drain: (ms) => runtime.drain(ms),
  close: () => Promise.resolve(),
})

export interface ThreadListeners {
  /** A thread ended by an error, or had one that nobody caught: its connections may be gone with it, and the node must not go on as if nothing were. */
  onFailure(error: Error): void
  /** A thread changed something that others may know by heart. */
  onChange(event: ClusterEvent): void
}

/**
 * @param data its config has the port that the threads share: no 0
 * @param signal ends the waiting for a database that is away
 */
export async function threadGateways(count: number, data: Omit<ThreadData, 'thread'>, listeners: ThreadListeners, signal?: AbortSignal): Promise<Gateways> {
  setUwsLimits()
  const threads = Array.from({ length: count }, (_, i) => new GatewayThread({ ...data, thread: `gateway-${i + 1}` }, listeners))
  const closeAll = async (): Promise<void> => {
    await Promise.all(threads.map((thread) => thread.close()))
  }
  const abandoned = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
  try {
    signal?.throwIfAborted()
    await Promise.race([Promise.all(threads.map((thread) => thread.created)), abandoned])
  } catch (error) {
    await closeAll()
    throw error
  }
  return {
    async listen() {
      const [first] = await Promise.all(threads.map(async (thread) => (await thread.ask('listen', { type: 'listen' })).port))
      return { port: first! }
    },
    update: (view) => {
      for (const thread of threads) thread.post({ type: 'view', view })
    },
    hear: (event) => {
      for (const thread of threads) thread.post({ type: 'event', event })
    },
    resetSlots: () => {
      for (const thread of threads) thread.post({ type: 'reset-slots' })
    },
    report: async () => merge(await Promise.all(threads.map(async (thread) => (await thread.ask('report', { type: 'report' })).report))),
    metrics: () => Promise.all(threads.map(async (thread) => (await thread.ask('metrics', { type: 'metrics' })).values)),
    drain: async (ms) => {
      await Promise.all(threads.map((thread) => thread.drain(ms)))
    },
    close: closeAll,
  }
}

class GatewayThread {
  /** Its databases are open. */
  readonly created: Promise<unknown>
  readonly #worker: Worker
  readonly #ended: Promise<unknown>
  readonly #onFailure: (error: Error) => void
  /** Requests of each kind that wait for their answer, oldest first. */
  readonly #waiting = new Map<FromThread['type'], { resolve: (answer: FromThread) => void; reject: (error: Error) => void }[]>()
  #dead: Error | null = null
  #closing = false

  constructor(data: ThreadData, { onFailure, onChange }: ThreadListeners) {
    this.#onFailure = onFailure
    this.#worker = new Worker(new URL('./thread.ts', import.meta.url), { workerData: data, name: data.thread })
    this.#ended = new Promise((resolve) => this.#worker.once('exit', resolve))
    this.#worker.on('message', (message: FromThread) => {
      if (message.type === 'failed') this.#failed(message.error)
      else if (message.type === 'event') onChange(message.event)
      else this.#waiting.get(message.type)?.shift()?.resolve(message)
    })
    this.#worker.on('error', (error: Error) => this.#died(error))
    this.#worker.on('exit', (code) => this.#died(new Error(`a gateway thread ended with ${code}`)))
    this.created = this.#answer('created')
  }

  post(message: ToThread): void {
    this.#worker.postMessage(message)
  }

  ask<T extends FromThread['type']>(type: T, message: ToThread): Promise<Extract<FromThread, { type: T }>> {
    const answer = this.#answer(type)
    this.post(message)
    return answer
  }

  async drain(ms: number): Promise<void> {
    if (this.#dead !== null) return
    try {
      await this.ask('drain', { type: 'drain', ms })
    } catch (error) {
      if (this.#dead === null) throw error
    }
  }

  /** Ends the thread. It must be drained. */
  async close(): Promise<void> {
    this.#closing = true
    this.post({ type: 'close' })
    await this.#ended
  }

  #died(error: Error): void {
    if (this.#dead !== null) return
    this.#dead = error
    if (!this.#closing) this.#failed(error)
  }

  #failed(error: Error): void {
    for (const list of this.#waiting.values()) for (const { reject } of list.splice(0)) reject(error)
    this.#onFailure(error)
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
