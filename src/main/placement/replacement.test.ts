import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PlacementDrive } from './failure-domains.ts'
import { replacementFor } from './replacement.ts'

const drive = (nodeId: string, n: number): PlacementDrive => ({ driveId: `${nodeId}${n}`, nodeId, zone: '', totalBytes: 1e12 })
const drives = ['a', 'b', 'c', 'd'].flatMap((node) => [drive(node, 1), drive(node, 2)])

test('the newcomer holds nothing of the group, and its node at most m shards', () => {
  for (let id = 1; id < 100; id++) {
    const group = { id, m: 2, members: ['gone', 'a1', 'a2', 'b1', 'b2', 'c1'] }
    assert.ok(['c2', 'd1', 'd2'].includes(replacementFor(group, 0, drives, drives)!))
  }
})

test('the groups of a lost drive spread over the others', () => {
  const chosen = new Set(Array.from({ length: 50 }, (_, id) => replacementFor({ id, m: 2, members: ['gone', 'a1', 'b1'] }, 0, drives, drives)))
  assert.ok(chosen.size >= 5, [...chosen].join(' '))
})

test('a crowded node before a missing shard; nothing where every drive has one', () => {
  const few = [drive('a', 1), drive('a', 2), drive('a', 3)]
  assert.equal(replacementFor({ id: 1, m: 1, members: ['gone', 'a1', 'a2'] }, 0, few, few), 'a3')
  assert.equal(replacementFor({ id: 1, m: 2, members: ['gone', 'a1', 'a2', 'a3'] }, 0, few, few), null)
})

test('a crowded zone before a crowded node', () => {
  const group = { id: 1, m: 2, members: ['gone', 'a1', 'a2', 'b1', 'c1', 'd1', 'e1', 'f1'] }
  const [crowded, alone] = [{ ...drive('a', 3), zone: 'one' }, { ...drive('g', 1), zone: 'two' }]
  const members = [drive('a', 1), drive('a', 2)].map((one) => ({ ...one, zone: 'one' }))
    .concat(['b', 'c', 'd', 'e', 'f'].map((node) => ({ ...drive(node, 1), zone: 'two' })))
  for (let id = 0; id < 20; id++) assert.equal(replacementFor({ ...group, id }, 0, [crowded, alone], [...members, crowded, alone]), 'g1')
})

test('a zone with room before one that is full', () => {
  const zoned = ['a', 'b', 'c', 'd'].map((node, i) => ({ ...drive(node, 1), zone: i < 2 ? 'one' : 'two' }))
  const spare = { ...drive('e', 1), zone: 'one' }
  for (let id = 0; id < 20; id++) {
    const chosen = replacementFor({ id, m: 1, members: ['gone', 'a1'] }, 0, [...zoned.slice(1), spare], [...zoned, spare])
    assert.ok(chosen === 'c1' || chosen === 'd1', String(chosen))
  }
})
