/** Runs node:test files, each in a process of its own, a few at a time. */
import { type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { type Counts, noCounts, plus } from './counts.ts'
import { killGroup, root, run } from './process.ts'
import type { TestOutcome } from './reporter.ts'

export interface NodeTestOptions {
  /** Patterns as of fs.glob, relative to the repository. */
  patterns: string[]
  concurrency: number
  /** Per test; a test can set a longer one for itself. */
  timeoutMs: number
  /** A file in which no test ends for so long is stopped: some test hangs beyond its timeout, or a handle was left open. */
  idleMs: number
  /** Files that measure time: they run first, with nothing beside them. */
  alone?: string[]
  /** Files that take longest: they begin first, so that none of them runs on alone at the end. */
  longest?: string[]
}

const SHOWN_OUTPUT_CHARS = 20_000

export async function runNodeTests({ patterns, concurrency, timeoutMs, idleMs, alone = [], longest = [] }: NodeTestOptions, fileParts: string[]): Promise<Counts> {
  const files = fs
    .globSync(patterns, { cwd: root })
    .filter((file) => fileParts.length === 0 || fileParts.some((part) => file.includes(part)))
    .sort()
  const first = files.filter((file) => alone.includes(file))
  const others = files.filter((file) => !alone.includes(file)).sort((a, b) => Number(longest.includes(b)) - Number(longest.includes(a)))
  let total: Counts = { ...noCounts }
  const take = async (waiting: string[]): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) total = plus(await runFile(file, timeoutMs, idleMs), total)
  }
  await take(first)
  await Promise.all(Array.from({ length: concurrency }, () => take(others)))
  return total
}

async function runFile(file: string, timeoutMs: number, idleMs: number): Promise<Counts> {
  const outcomes: TestOutcome[] = []
  let fileProcess: ChildProcess | undefined
  let stalled = false
  const watchdog = setTimeout(() => {
    stalled = true
    if (fileProcess?.pid !== undefined) killGroup(fileProcess.pid)
  }, idleMs)
  const reporter = path.join(import.meta.dirname, 'reporter.ts')
  const finished = await run(process.execPath, [`--test-timeout=${timeoutMs}`, `--test-reporter=${reporter}`, file], {
    onStart: (child) => (fileProcess = child),
    onEvent: (line) => {
      outcomes.push(JSON.parse(line) as TestOutcome)
      watchdog.refresh()
    },
  })
  clearTimeout(watchdog)

  const counts = countLeaves(outcomes)
  const failures = outcomes.filter((test) => test.outcome === 'failed' && !test.onlyByChild)
  for (const test of failures) console.log(`✖ ${file}: ${pathOf(test, outcomes)} (${Math.round(test.durationMs)} ms)\n${indent(test.error)}`)
  const ownFault = faultOfFile(outcomes, failures.length, stalled ? idleMs : 0, finished)
  if (ownFault !== '') {
    console.log(`✖ ${file}: ${ownFault}`)
    counts.failed++
  }
  if (counts.failed > 0 && finished.output.trim() !== '') console.log(`  output of ${file}:\n${indent(finished.output.slice(-SHOWN_OUTPUT_CHARS).trimEnd())}`)
  if (finished.leftOver) console.log(`! ${file}: left processes running; they were stopped`)
  return counts
}

/** What is wrong with the file as a whole, beyond its failed tests. */
function faultOfFile(outcomes: TestOutcome[], failures: number, stalledMs: number, { code, signal }: { code: number | null; signal: string | null }): string {
  if (stalledMs > 0) return `nothing happened for ${stalledMs / 1000} s: a test hangs or a handle was left open`
  if (code !== 0 && failures === 0) return `ended with ${signal ?? `exit code ${code}`} although no test failed`
  return outcomes.length === 0 ? 'holds no test' : ''
}

/** A test with tests inside counts through these, and itself only if it failed on its own. */
function countLeaves(outcomes: TestOutcome[]): Counts {
  const parents = new Set(outcomes.map(({ parentId }) => parentId))
  const counts: Counts = { ...noCounts }
  for (const test of outcomes) {
    const isLeaf = !test.isSuite && !parents.has(test.id)
    if (test.outcome === 'failed' ? !test.onlyByChild : isLeaf) counts[test.outcome]++
  }
  return counts
}

function pathOf(test: TestOutcome, outcomes: TestOutcome[]): string {
  // a failed hook may come under the number of its own suite
  const others = outcomes.filter((one) => one !== test)
  const parent = others.find(({ id }) => id === test.parentId)
  return parent === undefined ? test.name : `${pathOf(parent, others)} > ${test.name}`
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ')
}
