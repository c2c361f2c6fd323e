import assert from 'node:assert/strict'
import { test } from 'node:test'
import { remembered } from './remembered.ts'

test('an answer is asked for once while it is good, anew when it is to be forgotten, and an error is not kept', async () => {
  let asked = 0
  const answer = remembered(60_000, async () => {
    if (++asked === 1) throw new Error('away')
    return asked
  })
  await assert.rejects(answer(), /away/)
  assert.deepEqual([await answer(), await answer()], [2, 2])
  answer.forget()
  assert.equal(await answer(), 3)
  const stale = remembered(-1, async () => ++asked)
  assert.deepEqual([await stale(), await stale()], [4, 5])
})
