import assert from 'node:assert/strict'
import { test } from 'node:test'
import { leastSurvived, lossesSurvived, survivesMore } from './losses-survived.ts'

const there = (...nodes: string[]) => nodes.map((node, i) => ({ driveId: `d${i}`, nodeId: node, zone: node.startsWith('a') ? 'a' : '', totalBytes: 1 }))

test('the worst losses first: drives, nodes with most shards, zones with most shards', () => {
  assert.deepEqual(lossesSurvived(4, there('a', 'b', 'c', 'd', 'e', 'f')), { drives: 2, nodes: 2, zones: 2 })
  assert.deepEqual(lossesSurvived(3, there('b', 'b', 'b', 'c', 'c', 'c')), { drives: 3, nodes: 1, zones: 1 })
  assert.deepEqual(lossesSurvived(4, there('a1', 'a2', 'a3', 'b', 'c', 'd')), { drives: 2, nodes: 2, zones: 0 })
  assert.deepEqual(lossesSurvived(4, there('b', 'c', 'd', 'a1', 'a2', 'a3')), { drives: 2, nodes: 2, zones: 0 })
  assert.deepEqual(lossesSurvived(2, there('b', 'c', 'd', 'd')), { drives: 2, nodes: 1, zones: 1 })
  assert.deepEqual(lossesSurvived(4, there('a', 'b', 'c', 'd')), { drives: 0, nodes: 0, zones: 0 })
  assert.equal(lossesSurvived(4, there('a', 'b', 'c')), null)
})

test('more is more of one and less of none', () => {
  const of = (drives: number, nodes: number, zones: number) => ({ drives, nodes, zones })
  assert.ok(survivesMore(of(2, 1, 0), of(1, 1, 0)))
  assert.ok(!survivesMore(of(1, 1, 1), of(1, 1, 1)))
  assert.ok(!survivesMore(of(2, 0, 0), of(1, 1, 0)))
  assert.ok(!survivesMore(of(2, 1, 0), of(1, 1, 1)))
  assert.ok(!survivesMore(of(0, 1, 1), of(1, 0, 0)))
  assert.deepEqual(leastSurvived([of(2, 1, 1), of(1, 2, 1)]), of(1, 1, 1))
  assert.equal(leastSurvived([of(2, 1, 1), null]), null)
  assert.equal(leastSurvived([]), null)
})
