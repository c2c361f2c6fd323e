/** The checker itself: histories that one register can have, and such that none can. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ABSENT, KeyHistory } from './history.ts'

type Step = ['write' | 'read', value: number, beganMs: number, endedMs: number]

function violation(...steps: Step[]): string | null {
  const history = new KeyHistory('k')
  for (const [kind, value, beganMs, endedMs] of steps) {
    const what = `${kind} ${value} at ${beganMs}`
    if (kind === 'read') history.read({ value, what, beganMs, endedMs })
    else Object.assign(history.write(value, what), { beganMs, endedMs })
  }
  return history.violation()
}

test('what one register can have answered is no violation', () => {
  assert.equal(violation(['write', 1, 0, 1], ['read', 1, 2, 3], ['write', 2, 4, 5], ['read', 2, 6, 7]), null)
  assert.equal(violation(['read', ABSENT, 0, 1], ['write', 1, 2, 3], ['write', ABSENT, 4, 5], ['read', ABSENT, 6, 7]), null)
  // concurrent with the overwrite: either
  assert.equal(violation(['write', 1, 0, 1], ['write', 2, 2, 9], ['read', 2, 3, 4], ['read', 2, 5, 6]), null)
  assert.equal(violation(['write', 1, 0, 1], ['write', ABSENT, 2, 9], ['read', 1, 3, 4], ['read', ABSENT, 5, 6]), null)
  // unknown outcome: never seen, or seen late
  assert.equal(violation(['write', 1, 0, 1], ['write', 2, 2, Infinity], ['read', 1, 5, 6], ['read', 2, 7, 8]), null)
  assert.equal(violation(['write', 1, 0, 1], ['write', ABSENT, 2, Infinity], ['read', 1, 5, 6], ['read', ABSENT, 7, 8]), null)
})

test('lost, stale, revived and invented values are found', () => {
  assert.ok(violation(['write', 1, 0, 1], ['read', ABSENT, 2, 3]), 'lost')
  assert.ok(violation(['write', 1, 0, 1], ['write', 2, 2, 3], ['read', 1, 4, 5]), 'stale')
  assert.ok(violation(['write', 1, 0, 1], ['write', ABSENT, 2, 3], ['read', 1, 4, 5]), 'revived')
  assert.ok(violation(['read', 7, 0, 1]), 'invented')
  assert.ok(violation(['read', 1, 0, 1], ['write', 1, 2, 3]), 'from the future')
  // seen once, an unknown write stays
  assert.ok(violation(['write', 1, 0, 1], ['write', 2, 2, Infinity], ['read', 2, 3, 4], ['read', 1, 5, 6]), 'gone back')
  assert.ok(violation(['write', 1, 0, 1], ['write', ABSENT, 2, Infinity], ['read', ABSENT, 3, 4], ['read', 1, 5, 6]), 'gone back to before a delete')
  assert.ok(violation(['write', 1, 0, 9], ['write', 2, 0, 9], ['read', 1, 10, 11], ['read', 2, 12, 13], ['read', 1, 14, 15]), 'back and forth')
  assert.ok(violation(['write', 1, 0, 1], ['write', ABSENT, 2, 3], ['write', 2, 4, 5], ['read', ABSENT, 6, 7]), 'absent after a later write')
})
