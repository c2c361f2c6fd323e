import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Discoveries } from './discoveries.ts'

test('an address that is announced all the time is tried now and then', () => {
  const discoveries = new Discoveries()
  const tried = Array.from({ length: 100 }, (_, second) => discoveries.admits('a', second * 1000)).filter(Boolean)
  assert.equal(tried.length, 4)
})

test('a flood of addresses is tried in part', () => {
  const discoveries = new Discoveries()
  assert.equal(Array.from({ length: 5000 }, (_, i) => discoveries.admits(`a${i}`, 0)).filter(Boolean).length, 32)
  assert.equal(discoveries.admits('later', 10_000), true)
})
