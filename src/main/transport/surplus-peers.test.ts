import assert from 'node:assert/strict'
import { test } from 'node:test'
import { surplusPeers } from './surplus-peers.ts'

const NOW_MS = 100_000
const peers = (...agesMs: number[]) => agesMs.map((ageMs) => ({ lastUsedMs: NOW_MS - ageMs, busy: false }))
const ages = (found: readonly { lastUsedMs: number }[]) => found.map(({ lastUsedMs }) => NOW_MS - lastUsedMs)

test('the least recently used go, no more than are too many', () => {
  assert.deepEqual(ages(surplusPeers(peers(7000, 9000, 100, 8000), { kept: 4, unusedMs: 500 }, NOW_MS)), [])
  assert.deepEqual(ages(surplusPeers(peers(7000, 9000, 100, 8000), { kept: 2, unusedMs: 500 }, NOW_MS)), [9000, 8000])
})

test('one that was used lately stays, but not for long where there are twice as many as are kept', () => {
  assert.deepEqual(ages(surplusPeers(peers(100, 200, 300, 9000), { kept: 2, unusedMs: 500 }, NOW_MS)), [9000])
  assert.deepEqual(ages(surplusPeers(peers(100, 200, 300, 400, 450), { kept: 2, unusedMs: 500 }, NOW_MS)), [450])
  assert.deepEqual(ages(surplusPeers(peers(1, 2, 3, 40, 49), { kept: 2, unusedMs: 500 }, NOW_MS)), [])
})

test('one with a request under way stays', () => {
  const connected = [...peers(100, 200), { lastUsedMs: 0, busy: true }, ...peers(5000)]
  assert.deepEqual(ages(surplusPeers(connected, { kept: 2, unusedMs: 500 }, NOW_MS)), [5000])
  assert.deepEqual(ages(surplusPeers(connected, { kept: 1, unusedMs: 500 }, NOW_MS)), [5000, 200])
})
