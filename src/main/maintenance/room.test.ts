import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DriveId, PgId } from '../../shared/ids.ts'
import { GIB } from '../../shared/limits.ts'
import { Room, roomWarnings } from './room.ts'

const [a, b] = ['a' as DriveId, 'b' as DriveId]

function roomOf(freeGib: Record<string, number>) {
  const free = new Map(Object.entries(freeGib))
  const room = new Room({
    placeable: () => [a, b].map((driveId) => ({ driveId, nodeId: 'n', zone: '', totalBytes: 100 * GIB })),
    freeBytes: (driveId) => (free.get(driveId) ?? 0) * GIB,
  })
  return { room, free }
}

test('the reserve and a share above it are left to new writes', () => {
  // of 100 GiB five are the reserve and two are kept
  assert.equal(roomOf({ a: 50, b: 7.5 }).room.take([a, b], GIB), b)
  assert.equal(roomOf({ a: 50, b: 8 }).room.take([a, b], GIB), null)
})

test('what was taken counts until the drive announces anew what is free', () => {
  const { room, free } = roomOf({ a: 50, b: 10 })
  assert.deepEqual([1, 2, 3, 4].map(() => room.take([a, b], GIB)), [null, null, null, b])
  assert.equal(room.take([a], GIB), null, 'the other one has room')
  free.set(b, 8)
  assert.deepEqual([room.take([a, b], GIB), room.take([a, b], GIB)], [null, b])
})

test('where one has no room nothing is taken of the others', () => {
  const { room } = roomOf({ a: 9, b: 7 })
  assert.equal(room.take([a, b], GIB), b)
  assert.deepEqual([room.take([a], GIB), room.take([a], GIB), room.take([a], GIB)], [null, null, a])
})

test('a line for people, when there is something to say', () => {
  assert.deepEqual(roomWarnings(new Map()), [])
  assert.match(roomWarnings(new Map([[1 as PgId, a]]))[0]!, /^what lies in 1 placement group would be protected better .* on drive a: free some space/)
  assert.match(roomWarnings(new Map([[1 as PgId, b], [2 as PgId, a], [3 as PgId, b]]))[0]!, /in 3 placement groups .* on drives a, b:/)
})
