import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Backoff } from './backoff.ts'

test('each failure doubles the pause, up to ten minutes', () => {
  const backoff = new Backoff<number>()
  let now = 1_000_000
  assert.equal(backoff.isDue(1, now), true)
  const pauses: number[] = []
  for (let i = 1; i <= 10; i++) {
    assert.equal(backoff.failed(1, now), i)
    const from = now
    while (!backoff.isDue(1, now)) now += 1000
    pauses.push((now - from) / 1000)
  }
  assert.deepEqual(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600])
  assert.equal(backoff.isDue(2, now), true, 'others do not wait')
})

test('what is done begins anew, and a reset makes all due', () => {
  const backoff = new Backoff<string>()
  backoff.failed('a', 0)
  backoff.failed('a', 0)
  backoff.done('a')
  assert.equal(backoff.failed('a', 0), 1)
  assert.equal(backoff.isDue('a', 1), false)
  backoff.reset()
  assert.equal(backoff.isDue('a', 1), true)
  assert.equal(backoff.failed('a', 1), 2, 'a reset forgets no failure')
})
