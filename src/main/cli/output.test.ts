import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatBytes, tableLines } from './output.ts'

test('columns are headed by their names in words, and as wide as their widest cell', () => {
  assert.deepEqual(tableLines([{ driveId: 'abcdefgh', liveGiB: 1.5, createdAt: new Date(0), on: true, none: null }], ['driveId', 'liveGiB', 'createdAt', 'on', 'none']), [
    'DRIVE ID  LIVE GIB  CREATED AT                ON   NONE',
    'abcdefgh  1.5       1970-01-01T00:00:00.000Z  yes  -',
  ])
  assert.deepEqual(tableLines([], ['a' as never]), ['(none)'])
})

test('bytes in the largest unit that leaves a digit before the point', () => {
  assert.deepEqual([0, 1023, 1024, 1536, 150 * 1024, 5 * 1024 ** 4].map(formatBytes), ['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '150 KiB', '5.0 TiB'])
})
