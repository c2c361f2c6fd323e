import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PLACEMENT_SLOTS, TIB } from '../../shared/limits.ts'
import { chooseErasureCode, type PlacementDrive } from './erasure-code.ts'
import { slotWinners } from './rendezvous.ts'

const drives = (n: number, node = 'a'): PlacementDrive[] =>
  Array.from({ length: n }, (_, i) => ({ driveId: `${node}${i}`, nodeId: node, totalBytes: TIB }))
const code = (list: PlacementDrive[], wish: Parameters<typeof chooseErasureCode>[1] = 'auto') => {
  const chosen = chooseErasureCode(list, wish)
  return chosen === null ? null : `${chosen.k}+${chosen.m}`
}

test('the automatic code of one host', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 16].map((n) => code(drives(n))),
    [null, '1+0', '1+1', '1+2', '2+2', '3+2', '4+2', '4+2', '4+2'])
})

test('the automatic code of several hosts keeps at most m shards on one', () => {
  assert.equal(code([...drives(3, 'a'), ...drives(3, 'b')]), '3+3')
  assert.equal(code([...drives(1, 'a'), ...drives(1, 'b')]), '1+1')
  assert.equal(code(['a', 'b', 'c', 'd', 'e', 'f'].flatMap((n) => drives(1, n))), '4+2')
  assert.equal(code(['a', 'b', 'c'].flatMap((n) => drives(2, n))), '4+2')
})

test("an operator's code is kept while drives suffice, and narrows like auto below", () => {
  assert.equal(code(drives(12), { k: 8, m: 3 }), '8+3')
  assert.equal(code(drives(10), { k: 8, m: 3 }), '4+2')
  assert.equal(code(drives(3), { k: 2, m: 1 }), '2+1')
  assert.equal(code(drives(2), { k: 2, m: 1 }), '1+1')
  assert.equal(code(drives(1), { k: 2, m: 1 }), '1+0')
})

test('winners are distinct, spread by weight, and move only where a drive comes or goes', () => {
  const six = drives(6)
  const seven = [...six, { driveId: 'new', nodeId: 'a', totalBytes: TIB }]
  let changed = 0
  const first = new Map<string, number>()
  for (let slot = 0; slot < PLACEMENT_SLOTS; slot++) {
    const before = slotWinners(slot, six, { k: 2, m: 1 })
    const after = slotWinners(slot, seven, { k: 2, m: 1 })
    assert.equal(new Set(before).size, 3)
    if (after.includes('new')) changed++
    else assert.deepEqual(after, before)
    first.set(before[0]!, (first.get(before[0]!) ?? 0) + 1)
  }
  assert.ok(changed > PLACEMENT_SLOTS * 0.25 && changed < PLACEMENT_SLOTS * 0.6, `new drive in ${changed} slots`)
  for (const [drive, slots] of first) assert.ok(slots > 20 && slots < 75, `${drive} leads ${slots} slots`)
})

test('a drive of twice the size wins about twice the slots', () => {
  const list = drives(8).map((drive, i) => ({ ...drive, totalBytes: i === 0 ? 2 * TIB : TIB }))
  let big = 0
  let other = 0
  for (let slot = 0; slot < 4096; slot++) {
    const [winner] = slotWinners(slot, list, { k: 1, m: 0 })
    if (winner === 'a0') big++
    else other++
  }
  const ratio = big / (other / 7)
  assert.ok(ratio > 1.7 && ratio < 2.3, `ratio ${ratio}`)
})

test('no node holds more than m shards', () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 8 }), fc.nat(255), (sizes, slot) => {
    const list = sizes.flatMap((n, i) => drives(n, `n${i}`))
    const chosen = chooseErasureCode(list, 'auto')!
    if (chosen.m === 0) return
    const winners = slotWinners(slot, list, chosen)
    const perNode = new Map<string, number>()
    for (const id of winners) perNode.set(id.slice(0, 2), (perNode.get(id.slice(0, 2)) ?? 0) + 1)
    assert.ok(Math.max(...perNode.values()) <= chosen.m)
  }), { numRuns: 200 })
})
