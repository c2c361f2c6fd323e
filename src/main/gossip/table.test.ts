import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fakeKeys, nodeName, recordOf } from '../../../test/support/gossip-net.ts'
import { mulberry32 } from '../../../test/support/random.ts'
import type { NodeId } from '../../shared/ids.ts'
import type { MemberState } from '../membership/contract.ts'
import { MAX_BUCKETS } from './message-codec.ts'
import { bucketOf, NodeNumbers } from './node-numbers.ts'
import { signRecord } from './record-codec.ts'
import { isLive, Table } from './table.ts'
import { type View, viewOf } from './view.ts'

const NODES = 12
const state = fc.constantFrom<MemberState>('alive', 'suspect', 'dead', 'left')
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('set' as const), node: fc.nat({ max: NODES - 1 }), incarnation: fc.nat({ max: 3 }), state }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), node: fc.nat({ max: NODES - 1 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'fork' as const }) },
)

const signed = Array.from({ length: NODES }, (_, node) => [0, 1, 2, 3].map((incarnation) => ({
  staying: signRecord(recordOf(node, { incarnation }), false, fakeKeys(node).sign),
  leaving: signRecord(recordOf(node, { incarnation }), true, fakeKeys(node).sign),
})))
const viewOfStep = (node: number, incarnation: number, as: MemberState): View => viewOf(signed[node]![incarnation]![as === 'left' ? 'leaving' : 'staying'], as)

function check(table: Table, model: ReadonlyMap<NodeId, View>): void {
  const plain = (views: Iterable<View>): unknown[] => [...views].map((view) => [view.signed.record.nodeId, view.signed.record.incarnation, view.state]).sort()
  assert.deepEqual(plain(table.values()), plain(model.values()))
  assert.equal(table.size, model.size)
  assert.equal(table.liveCount, [...model.values()].filter(isLive).length)
  assert.deepEqual(plain(table.gone()), plain([...model.values()].filter((view) => !isLive(view))))
  for (const count of [1, 16, MAX_BUCKETS]) {
    const buckets = Array.from({ length: count }, (_, bucket) => plain(table.inBucket(bucket, count)))
    assert.deepEqual(buckets, Array.from({ length: count }, (_, bucket) => plain([...model.values()].filter((view) => bucketOf(view.signed.key, count) === bucket))))
  }
  for (let node = 0; node < NODES; node++) {
    assert.equal(table.get(nodeName(node))?.state, model.get(nodeName(node))?.state)
    assert.equal(table.byKey(signed[node]![0]!.staying.key)?.state, model.get(nodeName(node))?.state)
  }
  // However it came to be: the hashes are those of a table that never held anything else.
  const fresh = new Table()
  for (const view of model.values()) fresh.set(view, 0, 0)
  assert.deepEqual(table.hashes(MAX_BUCKETS), fresh.hashes(MAX_BUCKETS))
  assert.equal(table.liveHash, fresh.liveHash)
}

test('a table is the members last set, under whatever number; copies do not see each other', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, isShared) => {
      let table = new Table(new NodeNumbers(isShared))
      let model = new Map<NodeId, View>()
      for (const next of steps) {
        if (next.kind === 'set') {
          const view = viewOfStep(next.node, next.incarnation, next.state)
          table.set(view, 0, 0)
          model.set(nodeName(next.node), view)
        } else if (next.kind === 'remove') {
          const entry = table.get(nodeName(next.node))
          if (entry !== undefined) table.remove(entry)
          model.delete(nodeName(next.node))
        } else if (isShared) {
          table = table.fork()
          model = new Map(model)
        }
        check(table, model)
      }
      assert.ok(isShared || table.numbers.size <= NODES)
      const chosen = table.sample(3, mulberry32(1), isLive)
      assert.equal(chosen.length, Math.min(3, table.liveCount))
      assert.equal(new Set(chosen).size, chosen.length)
      assert.ok(chosen.every(isLive))
    }),
  )
})

test('members that came and were forgotten leave no room behind', () => {
  const table = new Table()
  for (let i = 0; i < 1000; i++) {
    const entry = table.set(viewOf(signRecord(recordOf(i), false, fakeKeys(i).sign), 'dead'), 0, 0)
    if (i >= 5) table.remove(table.get(nodeName(i - 5))!)
    assert.ok(entry.index <= 5)
  }
  assert.equal(table.numbers.size, 6)
  assert.equal(table.size, 5)
})

test('tables of the same living members have equal views; another incarnation, a suspicion, or one that is missing shows', () => {
  const views = fc.array(fc.record({ incarnation: fc.nat({ max: 3 }), state }), { minLength: NODES, maxLength: NODES })
  const tableOf = (all: { incarnation: number; state: MemberState }[]): Table => {
    const table = new Table()
    all.forEach(({ incarnation, state: as }, node) => table.set(viewOfStep(node, incarnation, as), 0, 0))
    return table
  }
  fc.assert(
    fc.property(views, views, fc.array(fc.boolean(), { minLength: NODES, maxLength: NODES }), (a, other, differs) => {
      // Half of the time they differ in the dead and the left alone.
      const b = a.map((view, i) => (differs[i] === true && (differs[0] === true || view.state === 'dead' || view.state === 'left') ? { ...other[i]!, ...(differs[0] === true ? {} : { state: 'left' as const }) } : view))
      const living = (all: typeof a): unknown => all.map((view) => (view.state === 'alive' || view.state === 'suspect' ? view : null))
      assert.equal(tableOf(a).liveHash === tableOf(b).liveHash, JSON.stringify(living(a)) === JSON.stringify(living(b)))
    }),
  )
})
