/**
 * The piscina pool that does the CPU work of the data path. The addon keeps the queue of jobs; it tells this thread how
 * many more tasks should run, each task takes jobs until none is left. A task carries no bytes (DESIGN §3).
 */
import { Piscina } from 'piscina'
import type { Logger } from 'pino'
import type { Native } from '../shared/native.ts'

/** How long one task may hold its worker before the queue of tasks is looked at again. */
const TASK_BUDGET_MS = 50

export function startWorkerPool(native: Native, workers: number, logger: Logger): { pool: Piscina; close(): Promise<void> } {
  const pool = new Piscina({
    filename: new URL('../workers/main.ts', import.meta.url).href,
    minThreads: workers,
    maxThreads: workers,
    idleTimeout: Number.POSITIVE_INFINITY,
  })
  pool.on('error', (error: Error) => logger.error({ err: error }, 'a worker thread failed and is replaced'))
  native.setWorkerCount(workers)
  native.setJobListener((tasks) => {
    for (let i = 0; i < tasks; i++) {
      pool.run(TASK_BUDGET_MS).catch((error: unknown) => logger.error({ err: error }, 'a data path task failed'))
    }
  })
  return { pool, close: () => pool.close({ force: true }) }
}
