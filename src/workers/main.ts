/** Entry of the pool's workers: a task takes jobs from the addon's queue until none is left or its time is over. */
import { loadNative } from '../shared/load-native.ts'

const native = loadNative()

/** @returns how many jobs were done */
export default function runJobs(budgetMs: number): number {
  return native.runJobs(budgetMs)
}
