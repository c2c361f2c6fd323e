import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fakeKeys, recordOf } from '../../../test/support/gossip-net.ts'
import { signRecord } from './record-codec.ts'
import { mergeViews, type View, viewOf } from './view.ts'

/** Views of one member, few enough to meet. */
const view: fc.Arbitrary<View> = fc
  .record({ incarnation: fc.integer({ min: 1, max: 3 }), processId: fc.constantFrom('a', 'b'), leaving: fc.boolean(), state: fc.constantFrom('alive' as const, 'suspect' as const, 'dead' as const) })
  .map(({ incarnation, processId, leaving, state }) => viewOf(signRecord(recordOf(0, { incarnation, processId }), leaving, fakeKeys(0).sign), state))

const same = (a: View, b: View): void => {
  assert.equal(a.state, b.state)
  assert.deepEqual(a.signed.body, b.signed.body)
}

test('views merge the same in any order and however often', () => {
  fc.assert(fc.property(view, view, (a, b) => same(mergeViews(a, b), mergeViews(b, a))))
  fc.assert(fc.property(view, view, view, (a, b, c) => same(mergeViews(mergeViews(a, b), c), mergeViews(a, mergeViews(b, c)))))
  fc.assert(fc.property(view, (a) => same(mergeViews(a, a), a)))
  fc.assert(fc.property(view, view, (a, b) => same(mergeViews(mergeViews(a, b), b), mergeViews(a, b))))
})

test('a merge never lowers an incarnation, and left is what the record says', () => {
  fc.assert(
    fc.property(view, view, (a, b) => {
      const merged = mergeViews(a, b)
      assert.equal(merged.signed.record.incarnation, Math.max(a.signed.record.incarnation, b.signed.record.incarnation))
      assert.equal(merged.state === 'left', merged.signed.leaving)
    }),
  )
})
