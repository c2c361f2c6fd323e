import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AnvilError } from '../../shared/errors.ts'
import { checkCopyConditions, checkReadConditions } from './conditions.ts'
import type { ReadConditions } from './contract.ts'

const NOW_MS = Date.parse('2026-01-02T03:04:05.678Z')
const BEFORE = NOW_MS - 60_000
const AFTER = NOW_MS + 60_000
const SAME_SECOND = Math.floor(NOW_MS / 1000) * 1000

/** The kind of the refusal, or 'ok'. */
function outcome(conditions: ReadConditions, check = checkReadConditions): string {
  try {
    check(conditions, 'e1', NOW_MS)
    return 'ok'
  } catch (error) {
    return (error as AnvilError).kind
  }
}

test('each condition by itself', () => {
  assert.equal(outcome({}), 'ok')
  assert.equal(outcome({ ifMatch: ['e1'] }), 'ok')
  assert.equal(outcome({ ifMatch: ['e0', 'e1'] }), 'ok')
  assert.equal(outcome({ ifMatch: ['*'] }), 'ok')
  assert.equal(outcome({ ifMatch: ['e0'] }), 'PreconditionFailed')
  assert.equal(outcome({ ifNoneMatch: ['e0'] }), 'ok')
  assert.equal(outcome({ ifNoneMatch: ['e1'] }), 'NotModified')
  assert.equal(outcome({ ifNoneMatch: ['*'] }), 'NotModified')
  assert.equal(outcome({ ifModifiedSinceMs: BEFORE }), 'ok')
  assert.equal(outcome({ ifModifiedSinceMs: SAME_SECOND }), 'NotModified', 'an HTTP date has no fractions')
  assert.equal(outcome({ ifModifiedSinceMs: AFTER }), 'NotModified')
  assert.equal(outcome({ ifUnmodifiedSinceMs: AFTER }), 'ok')
  assert.equal(outcome({ ifUnmodifiedSinceMs: SAME_SECOND }), 'ok')
  assert.equal(outcome({ ifUnmodifiedSinceMs: BEFORE }), 'PreconditionFailed')
})

test('an ETag outranks a date', () => {
  assert.equal(outcome({ ifMatch: ['e1'], ifUnmodifiedSinceMs: BEFORE }), 'ok')
  assert.equal(outcome({ ifNoneMatch: ['e0'], ifModifiedSinceMs: AFTER }), 'ok')
  assert.equal(outcome({ ifMatch: ['e0'], ifNoneMatch: ['e1'] }), 'PreconditionFailed')
})

test('a copy answers 412 where a read answers 304', () => {
  assert.equal(outcome({ ifNoneMatch: ['e1'] }, checkCopyConditions), 'PreconditionFailed')
  assert.equal(outcome({ ifModifiedSinceMs: AFTER }, checkCopyConditions), 'PreconditionFailed')
  assert.equal(outcome({ ifNoneMatch: ['e0'] }, checkCopyConditions), 'ok')
})
