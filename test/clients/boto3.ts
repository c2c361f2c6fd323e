/** Runs boto3_scenarios.py, which prints one JSON line per scenario. */
import path from 'node:path'
import { clientEnvironment, runCommand, type Target } from './context.ts'
import type { Result } from './report.ts'
import type { Tools } from './tools.ts'

interface Line {
  name: string
  seconds?: number
  error?: string
  skipped?: string
}

const SCRIPT_TIMEOUT_MS = 900_000

export async function boto3(target: Target, { program }: Tools, folder: string, server: string): Promise<Result[]> {
  const output = await runCommand(program('python'), [path.join(import.meta.dirname, 'boto3_scenarios.py')], {
    cwd: folder,
    env: clientEnvironment(target, folder),
    timeoutMs: SCRIPT_TIMEOUT_MS,
  })
  return output
    .trim()
    .split('\n')
    .map((line) => {
      const { name, seconds = 0, error, skipped } = JSON.parse(line) as Line
      const outcome = error !== undefined ? 'FAIL' : skipped !== undefined ? 'skipped' : 'pass'
      console.log(`${outcome === 'pass' ? '✔' : outcome === 'skipped' ? '-' : '✖'} boto3: ${name} (${server}, ${seconds.toFixed(1)} s)${error === undefined ? '' : `\n${error.replace(/^/gm, '    ')}`}`)
      return { client: 'boto3', scenario: name, server, outcome, detail: error ?? skipped ?? '', seconds }
    })
}
