import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Logger } from '../observability/logger.ts'
import { Problems } from './problems.ts'

function setUp() {
  const lines: string[] = []
  const clock = { ms: 1_000_000 }
  const say = (first: unknown, text?: string): void => void lines.push(text ?? (first as string))
  const logger = { warn: say, info: say } as unknown as Logger
  return { lines, clock, problems: new Problems(logger, () => clock.ms) }
}

test('a problem is said once, and once more when it is over', () => {
  const { lines, clock, problems } = setUp()
  problems.report('peer', 'unreachable', 'does not answer')
  clock.ms += 1000
  problems.report('peer', 'unreachable', 'still does not answer')
  assert.deepEqual(lines, ['peer peer: does not answer'])
  assert.deepEqual(problems.list, [{ peer: 'peer', kind: 'unreachable', text: 'still does not answer', sinceMs: 1_000_000 }])
  problems.clear('peer')
  problems.clear('peer')
  assert.equal(lines.length, 2)
  assert.deepEqual(problems.list, [])
})

test('one kind can pass while another stays', () => {
  const { problems } = setUp()
  problems.report('peer', 'clock', 'is late')
  problems.report('peer', 'unreachable', 'does not answer')
  problems.clear('peer', 'unreachable')
  assert.deepEqual(problems.list.map(({ kind }) => kind), ['clock'])
})

test('what is not seen again passes, an own address does not', () => {
  const { clock, problems } = setUp()
  problems.report('one', 'wrong-secret', 'text')
  problems.report('two', 'own-address', 'text')
  problems.clear('two')
  clock.ms += 16 * 60_000
  assert.deepEqual(problems.list.map(({ peer }) => peer), ['two'])
})

test('a flood of strangers fills neither the list nor the log', () => {
  const { lines, clock, problems } = setUp()
  for (let i = 0; i < 1000; i++) problems.report(`stranger-${i}`, 'wrong-secret', 'text')
  assert.equal(problems.list.length, 64)
  assert.equal(problems.list.at(-1)?.peer, 'stranger-999')
  assert.equal(lines.length, 20)
  clock.ms += 61_000
  problems.report('late', 'wrong-secret', 'text')
  assert.match(lines.at(-2)!, /980 more lines/)
})
