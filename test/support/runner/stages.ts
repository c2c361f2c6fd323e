/** The stages of `npm test`, cheapest first. */
import { installed, runModel, runRust, runTool } from './commands.ts'
import type { Counts } from './counts.ts'
import { type NodeTestOptions, runNodeTests } from './node-tests.ts'

export interface Stage {
  name: string
  /** Whether it consists of node:test files, which can be chosen by name. */
  takesFiles: boolean
  run(fileParts: string[]): Promise<Counts>
}

const nodeStages: Record<'tidy' | 'unit' | 'integration' | 'e2e', NodeTestOptions> = {
  tidy: { patterns: ['test/tidy/**/*.test.ts'], concurrency: 2, timeoutMs: 60_000, idleMs: 90_000 },
  unit: { patterns: ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'bench/**/*.test.ts', 'test/sim/**/*.test.ts', 'test/chaos/**/*.test.ts'], concurrency: 2, timeoutMs: 30_000, idleMs: 120_000 },
  integration: { patterns: ['test/integration/**/*.test.ts'], concurrency: 2, timeoutMs: 120_000, idleMs: 300_000 },
  e2e: {
    patterns: ['test/e2e/**/*.test.ts'], concurrency: 2, timeoutMs: 300_000, idleMs: 600_000,
    alone: ['test/e2e/sigterm.test.ts'], longest: ['test/e2e/drives.test.ts', 'test/e2e/restart.test.ts', 'test/e2e/cluster.test.ts'],
  },
}

/** What the tidy test checks every test file against. */
export const testPatterns = Object.values(nodeStages).flatMap(({ patterns }) => patterns)

export const stages: Stage[] = [
  { name: 'types', takesFiles: false, run: () => runTool('tsc --noEmit', installed('tsc'), ['--noEmit']) },
  { name: 'lint', takesFiles: false, run: () => runTool('oxlint', installed('oxlint'), ['--type-aware', '--deny-warnings']) },
  nodeStage('tidy'),
  nodeStage('unit'),
  { name: 'rust', takesFiles: false, run: runRust },
  { name: 'model', takesFiles: false, run: runModel },
  nodeStage('integration'),
  nodeStage('e2e'),
]

function nodeStage(name: keyof typeof nodeStages): Stage {
  return { name, takesFiles: true, run: (fileParts) => runNodeTests(nodeStages[name], fileParts) }
}
