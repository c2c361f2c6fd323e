/** Stages that are one command of another tool. */
import path from 'node:path'
import { type Counts, noCounts, plus } from './counts.ts'
import { root, run } from './process.ts'

/** A tool that passes or fails as one. */
export async function runTool(title: string, command: string, args: string[]): Promise<Counts> {
  const { code, output } = await run(command, args)
  if (code === 0) return { ...noCounts, passed: 1 }
  console.log(`✖ ${title}\n${output.trimEnd()}`)
  return { ...noCounts, failed: 1 }
}

export function installed(name: string): string {
  return path.join(root, 'node_modules', '.bin', name)
}

const cargoWorkspace = ['--manifest-path', path.join(root, 'native', 'Cargo.toml'), '--workspace', ...(process.env['CI'] === 'true' ? ['--locked'] : [])]

/**
 * In the test profile: assertions and overflow checks are on, and linking is quick. The addon's release profile would
 * share its compiled dependencies, but link-time optimization of each test binary costs more than compiling them twice.
 */
export async function runRust(): Promise<Counts> {
  const tests = await run('cargo', ['test', '--no-fail-fast', ...cargoWorkspace])
  let counts = countCargo(tests.output)
  if (tests.code !== 0) {
    console.log(tests.output.trimEnd())
    // Did not compile, or a test process died before its summary.
    if (counts.failed === 0) counts = plus(counts, { ...noCounts, failed: 1 })
  }
  return plus(counts, await runClippy())
}

/** The model of the data protocol (test/model), each check up to a number of states. */
export async function runModel(): Promise<Counts> {
  const manifest = path.join(root, 'test', 'model', 'Cargo.toml')
  const targetDir = process.env['CARGO_TARGET_DIR'] ?? path.join(root, 'native', 'target')
  const { output } = await run('cargo', ['run', '--release', '--quiet', '--manifest-path', manifest, '--target-dir', targetDir, '--', '--quick'])
  const said = /^(\d+) as expected, (\d+) not as expected, (\d+) undecided$/m.exec(output)
  if (said === null || said[2] !== '0') console.log(output.trimEnd())
  if (said === null) return { ...noCounts, failed: 1 }
  return { ...noCounts, passed: Number(said[1]), failed: Number(said[2]) }
}

async function runClippy(): Promise<Counts> {
  const { code } = await run('cargo', ['clippy', '--version'])
  if (code === 0) return runTool('clippy', 'cargo', ['clippy', '--profile', 'test', '--all-targets', ...cargoWorkspace, '--', '-D', 'warnings'])
  console.log('- clippy is not installed (rustup component add clippy)')
  return { ...noCounts, skipped: 1 }
}

function countCargo(output: string): Counts {
  let counts: Counts = { ...noCounts }
  for (const [, passed, failed, skipped] of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm)) {
    counts = plus(counts, { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) })
  }
  return counts
}
