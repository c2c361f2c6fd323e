import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newBlobId, type DriveId, type NodeId, type PgId } from '../../shared/ids.ts'
import type { PgDefinition } from '../../shared/native.ts'
import type { PlacementGroup } from '../metadata/contract.ts'
import { groupDigest, PlacementGroups, type DriveView } from './groups.ts'

/** A database of groups, and an addon that notes what it is told. */
function rig(drives: number, options: { everTwoDrives?: boolean; allowUnprotectedWrites?: boolean; sealed?: (id: PgId) => void } = {}) {
  const rows = new Map<PgId, PlacementGroup>()
  const told: PgDefinition[] = []
  const forgotten: number[] = []
  const seen = { lookups: 0, away: false }
  const viewOf = (count: number, version: number): DriveView => ({
    version,
    drives: Array.from({ length: count }, (_, i) => ({ driveId: `d${i}`, nodeId: 'n' as NodeId, zone: '', totalBytes: 1000 })),
    everTwoDrives: options.everTwoDrives ?? count > 1,
  })
  let view = viewOf(drives, 1)
  const groups = new PlacementGroups({
    erasureCode: 'auto',
    allowUnprotectedWrites: options.allowUnprotectedWrites ?? false,
    view: () => view,
    sealed: options.sealed,
    native: { setPg: (definition) => void told.push(definition), forgetPg: (id) => void forgotten.push(id) },
    metadata: {
      openPlacementGroup: (k, m, members) => {
        seen.lookups++
        if (seen.away) return Promise.reject(new Error('away'))
        const found = [...rows.values()].find((row) => row.state === 'open' && groupDigest({ k, m, members }) === groupDigest(row))
        if (found !== undefined) return Promise.resolve({ ...found })
        const made: PlacementGroup = { id: (rows.size + 1) as PgId, k, m, members, state: 'open', generation: 0, bytes: 0, incoming: null, openedMs: 0 }
        rows.set(made.id, made)
        return Promise.resolve({ ...made })
      },
      placementGroup: (id) => {
        seen.lookups++
        const row = rows.get(id)
        return Promise.resolve(row === undefined ? null : { ...row, members: [...row.members] as DriveId[] })
      },
      sealPlacementGroup: (id) => {
        rows.get(id)!.state = 'sealed'
        return Promise.resolve()
      },
    },
  })
  return { groups, rows, told, forgotten, seen, look: (count: number) => (view = viewOf(count, view.version + 1)) }
}

test('a blob finds the open group of its slot, once for all that come at a time', async () => {
  const { groups, told, seen } = rig(6)
  const blob = newBlobId()
  const leases = await Promise.all([groups.take(blob), groups.take(blob), groups.take(blob)])
  assert.equal(seen.lookups, 1)
  assert.deepEqual([leases[0].group.k, leases[0].group.m], [4, 2])
  assert.equal(told[0]!.pgId, leases[0].group.id)
  assert.ok(groups.wanted().has(groupDigest(leases[0].group)))
})

test('a group is in use until the last of its leases is given back, each once', async () => {
  const { groups } = rig(3)
  const blob = newBlobId()
  const [a, b] = [await groups.take(blob), await groups.take(blob)]
  a.release()
  a.release()
  assert.deepEqual(groups.inUse, [b.group.id])
  b.release()
  assert.deepEqual(groups.inUse, [])
})

test('other drives mean other groups; a retired group is not taken again', async () => {
  const { groups, look } = rig(2)
  const blob = newBlobId()
  const first = await groups.take(blob)
  await groups.retire(first.group.id)
  const second = await groups.take(blob)
  assert.notEqual(second.group.id, first.group.id)
  assert.deepEqual(second.group.members, first.group.members)
  look(6)
  const third = await groups.take(blob)
  assert.equal(third.group.members.length, 6)
  assert.deepEqual(groups.code, { k: 4, m: 2, keeps: 'drive' })
})

test('what another node seals or moves is noticed: its slots take another group, its members are read again', async () => {
  const { groups, rows, seen, told } = rig(2)
  const blob = newBlobId()
  const { group } = await groups.take(blob)
  rows.get(group.id)!.state = 'sealed'
  rows.get(group.id)!.generation = 3
  await groups.changed(group.id)
  assert.equal(told.at(-1)!.generation, 3)
  assert.notEqual((await groups.take(blob)).group.id, group.id)
  const before = seen.lookups
  await groups.changed(99 as PgId)
  assert.equal(seen.lookups, before, 'what is not known is not looked up')
})

test('a group that was deleted is forgotten, here and by the addon; not while an upload has it', async () => {
  const { groups, rows, forgotten } = rig(2)
  const lease = await groups.take(newBlobId())
  rows.delete(lease.group.id)
  await groups.changed(lease.group.id)
  assert.equal((await groups.ensure(lease.group.id)).id, lease.group.id)
  lease.release()
  await groups.changed(lease.group.id)
  assert.deepEqual(forgotten, [lease.group.id])
  await assert.rejects(groups.ensure(lease.group.id), { kind: 'ShardsUnavailable' })
})

test('a group that is retired here is told to others', async () => {
  const sealed: PgId[] = []
  const { groups } = rig(2, { sealed: (id) => sealed.push(id) })
  const { group } = await groups.take(newBlobId())
  await groups.retire(group.id)
  assert.deepEqual(sealed, [group.id])
})

test('a database that was away is asked again by the next upload', async () => {
  const { groups, seen } = rig(2)
  const blob = newBlobId()
  seen.away = true
  await assert.rejects(groups.take(blob), /away/)
  seen.away = false
  await groups.take(blob)
  assert.equal(groups.inUse.length, 1)
})

test('a deployment that has had two drives writes nothing without redundancy, unless told to', async () => {
  await rig(1).groups.take(newBlobId())
  await assert.rejects(rig(1, { everTwoDrives: true }).groups.take(newBlobId()), { kind: 'InsufficientRedundancy' })
  await rig(1, { everTwoDrives: true, allowUnprotectedWrites: true }).groups.take(newBlobId())
  await assert.rejects(rig(0).groups.take(newBlobId()), { kind: 'InsufficientRedundancy' })
})

test('what the slots want: as of the present view, or of any other drives', async () => {
  const { groups, look } = rig(6)
  const whole = groups.wanted()
  assert.equal(groups.wanted(), whole, 'the same while the view is the same')
  assert.ok(whole.has(groupDigest((await groups.take(newBlobId())).group)))
  const drives = Array.from({ length: 6 }, (_, i) => ({ driveId: `d${5 - i}`, nodeId: 'n', zone: '', totalBytes: 1000 }))
  assert.deepEqual([...groups.wantedOver(drives)].toSorted(), [...whole].toSorted(), 'in whatever order they come')
  look(5)
  assert.deepEqual([...groups.wanted()].filter((digest) => whole.has(digest)), [], 'another code')
  assert.deepEqual([...groups.wantedOver(drives)].toSorted(), [...whole].toSorted())
  look(0)
  assert.deepEqual([groups.wanted().size, groups.wantedOver([]).size], [0, 0])
})

test('a group is known until it is loaded again; one that does not exist is an error, or null', async () => {
  const { groups, rows, told, seen } = rig(2)
  const { group } = await groups.take(newBlobId())
  rows.get(group.id)!.generation = 5
  assert.equal((await groups.ensure(group.id)).generation, 0)
  assert.equal((await groups.reload(group.id)).generation, 5)
  assert.equal((await groups.ensure(group.id)).generation, 5)
  assert.equal(told.at(-1)!.generation, 5)
  const before = seen.lookups
  await Promise.all([groups.reload(group.id), groups.reload(group.id)])
  assert.equal(seen.lookups, before + 1)
  await assert.rejects(groups.ensure(99 as PgId), { kind: 'ShardsUnavailable' })
  assert.equal(await groups.refresh(99 as PgId), null)
})
