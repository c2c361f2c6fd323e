import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCache } from './cache.ts'

const AWAY = new Error('away')

/** A cache over a table in memory, with a clock that the test turns and a switch that takes the table away. */
function rig({ ttlMs = 1000, absentTtlMs = 100, maxEntries = 100 } = {}) {
  const table = new Map<string, string>()
  const rigged = { nowMs: 0, loads: 0, away: false, gate: null as Promise<void> | null, table }
  const cache = createCache<string>({
    async load(key) {
      rigged.loads++
      const value = table.get(key) ?? null
      await rigged.gate
      if (rigged.away) throw AWAY
      return value
    },
    isAway: (error) => error === AWAY,
    ttlMs, absentTtlMs, maxEntries,
    nowMs: () => rigged.nowMs,
  })
  return Object.assign(rigged, { cache })
}

test('a value is loaded once for its time', async () => {
  const r = rig()
  r.table.set('a', '1')
  assert.equal(await r.cache.get('a'), '1')
  r.table.set('a', '2')
  r.nowMs = 999
  assert.equal(await r.cache.get('a'), '1')
  r.nowMs = 1000
  assert.equal(await r.cache.get('a'), '2')
  assert.equal(r.loads, 2)
})

test('absence is remembered for a short time', async () => {
  const r = rig()
  assert.equal(await r.cache.get('a'), null)
  r.table.set('a', '1')
  assert.equal(await r.cache.get('a'), null)
  r.nowMs = 100
  assert.equal(await r.cache.get('a'), '1')
})

test('loads of one key at a time are one load', async () => {
  const r = rig()
  r.table.set('a', '1')
  assert.deepEqual(await Promise.all(Array.from({ length: 50 }, () => r.cache.get('a'))), Array.from({ length: 50 }, () => '1'))
  assert.equal(r.loads, 1)
})

test('while the database is away, old values go on serving and unknown ones fail', async () => {
  const r = rig()
  r.table.set('a', '1')
  await r.cache.get('a')
  r.away = true
  r.nowMs = 5000
  assert.equal(await r.cache.get('a'), '1')
  assert.equal(await r.cache.get('a'), '1')
  assert.equal(r.loads, 2, 'not tried again at once')
  await assert.rejects(r.cache.get('b'), AWAY)
  r.nowMs = 7000
  r.away = false
  r.table.set('a', '2')
  assert.equal(await r.cache.get('a'), '2')
})

test('a database that does not answer holds up an old value for a second, not for longer', async () => {
  const r = rig()
  r.table.set('a', '1')
  await r.cache.get('a')
  r.nowMs = 5000
  const { promise, resolve } = Promise.withResolvers<void>()
  r.gate = promise
  const began = performance.now()
  assert.equal(await r.cache.get('a'), '1')
  assert.ok(performance.now() - began < 1500)
  assert.equal(await r.cache.get('a'), '1')
  resolve()
  await sleep(1)
})

test('an error of another kind is told, even with an old value', async () => {
  const broken = new Error('cannot be unwrapped')
  let fail = false
  let nowMs = 0
  const cache = createCache<string>({
    load: () => (fail ? Promise.reject(broken) : Promise.resolve('1')), isAway: () => false, ttlMs: 10, absentTtlMs: 10, maxEntries: 10, nowMs: () => nowMs,
  })
  await cache.get('a')
  fail = true
  nowMs = 20
  await assert.rejects(cache.get('a'), broken)
})

test('an invalidated value is not served again, not even while the database is away', async () => {
  const r = rig()
  r.table.set('a', '1')
  await r.cache.get('a')
  r.cache.invalidate('a')
  r.away = true
  await assert.rejects(r.cache.get('a'), AWAY)
})

test('a load that began before an invalidation is not kept', async () => {
  const r = rig()
  r.table.set('a', '1')
  const { promise, resolve } = Promise.withResolvers<void>()
  r.gate = promise
  const before = r.cache.get('a')
  r.table.set('a', '2')
  r.cache.invalidate('a')
  const after = r.cache.get('a')
  resolve()
  assert.equal(await before, '1')
  assert.equal(await after, '2')
  assert.equal(await r.cache.get('a'), '2')
  assert.equal(r.loads, 2)
})

test('when everything counts as too old, old values still serve while the database is away', async () => {
  const r = rig()
  r.table.set('a', '1')
  await r.cache.get('a')
  r.cache.expireAll()
  r.away = true
  assert.equal(await r.cache.get('a'), '1')
  r.away = false
  r.table.set('a', '2')
  r.cache.expireAll()
  assert.equal(await r.cache.get('a'), '2')
})

test('memory is bounded', async () => {
  const r = rig({ maxEntries: 10 })
  for (let i = 0; i < 50; i++) r.table.set(`k${i}`, 'v')
  for (let i = 0; i < 50; i++) await r.cache.get(`k${i}`)
  for (let i = 40; i < 50; i++) await r.cache.get(`k${i}`)
  assert.equal(r.loads, 50)
  await r.cache.get('k0')
  assert.equal(r.loads, 51)
})
