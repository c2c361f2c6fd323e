import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { DriveId, PgId } from '../../shared/ids.ts'
import type { PgState, PlacementGroup } from './contract.ts'
import { KnownGroups } from './known-groups.ts'

const STATES: PgState[] = ['open', 'sealed', 'closed']

/** A table of groups that notes which rows are read; `between` happens after the versions were read. */
function table() {
  const rows = new Map<PgId, PlacementGroup>()
  const seen = { read: [] as PgId[], between: () => {} }
  let last = 0
  const groups = new KnownGroups({
    versions: () => {
      const versions = [...rows.values()].map(({ id, state, generation, bytes }) => ({ id, state, generation, bytes }))
      seen.between()
      return Promise.resolve(versions)
    },
    rows: (ids) => {
      seen.read.push(...ids)
      return Promise.resolve(ids.flatMap((id) => rows.get(id) ?? []).map((row) => ({ ...row })))
    },
  })
  const open = (): PgId => {
    const id = ++last as PgId
    rows.set(id, { id, k: 1, m: 0, members: [`d${id}` as DriveId], state: 'open', generation: 0, bytes: 0, openedMs: id, incoming: null })
    return id
  }
  const change = (id: PgId, what: Partial<PlacementGroup>): void => void rows.set(id, { ...rows.get(id)!, ...what })
  return { rows, seen, groups, open, change }
}

test('a look reads the rows of those groups that have changed since the one before', async () => {
  const { rows, seen, groups, open, change } = table()
  const [a, b, c] = [open(), open(), open()]
  await groups.look(STATES)
  seen.read.length = 0
  assert.deepEqual(await groups.look(STATES), [...rows.values()])
  assert.deepEqual(seen.read, [])
  change(a, { bytes: 7 })
  change(b, { state: 'sealed' })
  change(c, { generation: 1, members: ['e' as DriveId] })
  const d = open()
  assert.deepEqual(await groups.look(STATES), [...rows.values()])
  assert.deepEqual(seen.read, [b, c, d])
  rows.delete(b)
  assert.deepEqual((await groups.look(['open'])).map(({ id }) => id), [a, c, d])
  assert.deepEqual(await groups.look(['sealed', 'closed']), [])
})

test('whatever happens between two looks, and in the middle of one, the next one has it', async () => {
  const step = fc.record({ what: fc.constantFrom('open', 'seal', 'move', 'bytes', 'delete'), at: fc.nat(9), middle: fc.boolean(), look: fc.boolean() })
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const { rows, seen, groups, open, change } = table()
    for (const { what, at, middle, look } of steps) {
      const id = [...rows.keys()][at]
      const act = (): void => {
        seen.between = () => {}
        if (what === 'open') open()
        else if (id === undefined) return
        else if (what === 'delete') rows.delete(id)
        else if (what === 'seal') change(id, { state: 'sealed' })
        else if (what === 'bytes') change(id, { bytes: rows.get(id)!.bytes + 1 })
        else change(id, { generation: rows.get(id)!.generation + 1, members: [`d${rows.get(id)!.generation}` as DriveId] })
      }
      if (middle) {
        seen.between = act
        await groups.look(STATES)
      } else act()
      if (look) assert.deepEqual(await groups.look(STATES), [...rows.values()])
    }
    assert.deepEqual(await groups.look(STATES), [...rows.values()])
  }))
})

test('a look that fails hinders no other', async () => {
  const { seen, groups, open } = table()
  open()
  seen.between = () => {
    seen.between = () => {}
    throw new Error('away')
  }
  const [first, second] = await Promise.allSettled([groups.look(STATES), groups.look(STATES)])
  assert.equal(first.status, 'rejected')
  assert.ok(second.status === 'fulfilled' && second.value.length === 1)
})
