import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnvilError } from '../../shared/errors.ts'
import { resolveRange } from './range.ts'

const refused = (error: unknown): boolean => AnvilError.is(error, 'InvalidRange')

test('ranges within the object', () => {
  assert.deepEqual(resolveRange({ kind: 'whole' }, 10), { start: 0, end: 10, partial: false })
  assert.deepEqual(resolveRange({ kind: 'whole' }, 0), { start: 0, end: 0, partial: false })
  assert.deepEqual(resolveRange({ kind: 'bytes', first: 0, last: 0 }, 10), { start: 0, end: 1, partial: true })
  assert.deepEqual(resolveRange({ kind: 'bytes', first: 3, last: null }, 10), { start: 3, end: 10, partial: true })
  assert.deepEqual(resolveRange({ kind: 'bytes', first: 3, last: 99 }, 10), { start: 3, end: 10, partial: true })
  assert.deepEqual(resolveRange({ kind: 'suffix', length: 4 }, 10), { start: 6, end: 10, partial: true })
  assert.deepEqual(resolveRange({ kind: 'suffix', length: 40 }, 10), { start: 0, end: 10, partial: true })
})

test('ranges that cannot be satisfied', () => {
  assert.throws(() => resolveRange({ kind: 'bytes', first: 10, last: null }, 10), refused)
  assert.throws(() => resolveRange({ kind: 'bytes', first: 0, last: 0 }, 0), refused)
  assert.throws(() => resolveRange({ kind: 'suffix', length: 0 }, 10), refused)
  assert.throws(() => resolveRange({ kind: 'suffix', length: 1 }, 0), refused)
})
