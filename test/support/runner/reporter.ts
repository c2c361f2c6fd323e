/** A node:test reporter that hands the runner one JSON line per finished test, on descriptor 3. */
import { writeSync } from 'node:fs'
import type { TestEvent } from 'node:test/reporters'
import { inspect } from 'node:util'

const EVENTS_FD = 3

export interface TestOutcome {
  id: number
  parentId: number
  name: string
  outcome: 'passed' | 'failed' | 'skipped'
  isSuite: boolean
  /** It failed only because a test inside it did. */
  onlyByChild: boolean
  durationMs: number
  /** The error with its stack; '' unless failed. */
  error: string
}

interface FinishedTest {
  testId: number
  parentId: number
  name: string
  skip?: string | boolean
  todo?: string | boolean
  details: { duration_ms: number; type?: string; error?: Error & { failureType?: string } }
}

// oxlint-disable-next-line require-yield -- the reporter's output goes to descriptor 3, not to the destination
export default async function* reporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue
    writeSync(EVENTS_FD, `${JSON.stringify(outcome(event.data as unknown as FinishedTest, event.type === 'test:pass'))}\n`)
  }
}

function outcome(test: FinishedTest, passed: boolean): TestOutcome {
  const { error, duration_ms: durationMs, type } = test.details
  const isOff = (test.skip !== undefined && test.skip !== false) || (test.todo !== undefined && test.todo !== false)
  return {
    id: test.testId,
    parentId: test.parentId,
    name: test.name,
    outcome: isOff ? 'skipped' : passed ? 'passed' : 'failed',
    isSuite: type === 'suite',
    onlyByChild: error?.failureType === 'subtestsFailed',
    durationMs,
    error: error === undefined ? '' : inspect(error.cause instanceof Error ? error.cause : error, { depth: 6 }),
  }
}
