import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Deck } from './deck.ts'
import type { Fault } from './faults/fault.ts'
import { Random } from './random.ts'

const fault = (name: string, weight: number, always = false): Fault => ({ name, weight, always, draw: () => null })
const FAULTS = [fault('often', 1000), fault('rot', 1, true), fault('full', 1, true), fault('rare', 1)]

const drawn = (seed: number, turns: number): string[] => {
  const deck = new Deck(FAULTS, seed)
  return Array.from({ length: turns }, (_, turn) => {
    const next = deck.next(turn, new Random(seed * 100_003 + turn))
    deck.played(next)
    return next.name
  })
}

test('what no campaign goes without comes in the first turns of every seed, the rest by weight', () => {
  for (let seed = 0; seed < 200; seed++) {
    const names = drawn(seed, 8)
    assert.ok(names.slice(0, 4).includes('rot') && names.slice(0, 4).includes('full'), `seed ${seed}: ${names.join(', ')}`)
    assert.ok(names.filter((name) => name === 'often').length >= 5)
  }
  assert.deepEqual(drawn(7, 20), drawn(7, 20), 'the seed gives the same again')
  assert.ok(new Set(Array.from({ length: 20 }, (_, seed) => drawn(seed, 2)[1])).size === 2, 'in either order')
})

test('what could not be played stays owed', () => {
  const deck = new Deck(FAULTS, 1)
  const first = deck.next(1, new Random(1))
  assert.equal(deck.next(3, new Random(3)), first)
  assert.equal(deck.owed.length, 2)
})
