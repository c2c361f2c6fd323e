/** Which placement groups are sealed (DESIGN §7): none because somebody is away for a while only. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import type { PgState } from '../../../src/main/metadata/contract.ts'
import { groupDigest } from '../../../src/main/placement/groups.ts'
import type { BucketId, DriveId, PgId } from '../../../src/shared/ids.ts'
import { startMetadata, type TestMetadata } from '../../support/metadata.ts'
import { until } from '../../support/until.ts'
import { idsOf, PlacingNode, upkeepOf, type PlacingOptions } from './placing-nodes.ts'

const DELAY_MS = 900_000
let t: TestMetadata
let bucketId: BucketId
before(async () => (t = await startMetadata()))
beforeEach(async () => {
  for (const table of ['objects', 'blobs', 'placement_groups', 'deleted_groups', 'drives', 'nodes', 'leases']) await t.sql(`DELETE FROM ${table}`)
  bucketId = await t.bucket()
})
after(() => t.stop())

async function cluster(count: number, more: Partial<PlacingOptions> = {}): Promise<PlacingNode[]> {
  const nodes = Array.from({ length: count }, (_, i) => new PlacingNode({ t, bucketId, delayMs: DELAY_MS, ...more }, `node${i}`, 2))
  for (const node of nodes) {
    node.sees(nodes)
    await node.join()
  }
  return nodes
}
const inState = async (...states: PgState[]): Promise<PgId[]> => idsOf(await t.metadata.placementGroups({ states }))
/** The clock in reports is cut to the earlier side: until what is expected has come about. */
const untilOpen = (nodes: readonly PlacingNode[], expected: readonly PgId[]): Promise<boolean> =>
  until('those groups are open, and no other', async () => {
    await upkeepOf(nodes)
    return JSON.stringify(await inState('open')) === JSON.stringify(expected)
  }, { timeoutMs: 20_000, detail: async () => `${(await inState('open')).join()}, expected ${expected.join()}` })

test('a member that is away for a while: its groups stay open, and are used again when it is back', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [PlacingNode, PlacingNode, PlacingNode]
  const whole = await a.write()
  let degraded: PgId[] = []
  for (let times = 0; times < 3; times++) {
    for (const node of [a, b]) node.sees([a, b])
    // silent, or gone with a goodbye: then it does not even say any more what it wants
    if (times > 0) await t.metadata.releaseLease(c.nodeId, c.process)
    degraded = await a.write()
    assert.deepEqual(await b.write(), degraded, 'nodes with the same view write into the same groups')
    assert.deepEqual(degraded.filter((id) => whole.includes(id)), [], 'nothing is written to a member that is away')
    for (let rounds = 0; rounds < 2; rounds++) await upkeepOf([a, b])
    assert.deepEqual(await inState('open'), [...whole, ...degraded])

    for (const node of nodes) node.sees(nodes)
    await untilOpen(nodes, whole)
    assert.deepEqual(await b.write(), whole)
  }
  await until('the groups of the degraded view are closed', async () => {
    await upkeepOf(nodes)
    return (await inState('closed')).includes(degraded[0]!)
  })
})

test('a member that is gone for good: its groups are sealed and closed, and nobody waits for its reports', async () => {
  const nodes = await cluster(3, { delayMs: 0 })
  const [a, b, c] = nodes as [PlacingNode, PlacingNode, PlacingNode]
  const whole = await a.write()
  const living = [a, b]
  for (const node of living) node.sees(living)
  for (let rounds = 0; rounds < 2; rounds++) await upkeepOf(living)
  assert.deepEqual(await inState('open'), whole, 'it has its lease')
  await t.metadata.releaseLease(c.nodeId, c.process)
  await untilOpen(living, [])
  assert.ok((await a.write()).every((id) => !whole.includes(id)))
  await until('they are closed', async () => {
    await upkeepOf(living)
    return (await inState('closed')).length === whole.length
  })
})

test('a member that is away counts with the size that it announced last', async () => {
  const nodes = await cluster(4)
  const [a, , , d] = nodes as [PlacingNode, PlacingNode, PlacingNode, PlacingNode]
  const whole = await a.write()
  await upkeepOf(nodes)
  await t.metadata.releaseLease(d.nodeId, d.process)
  await t.sql("UPDATE drives SET total_bytes = total_bytes * 5 WHERE node_id = 'node3'")
  const here = nodes.slice(0, 3)
  for (const node of here) node.sees(here)
  for (let rounds = 0; rounds < 2; rounds++) await upkeepOf(here)
  assert.deepEqual(await inState('open'), whole)
})

test('the halves of a partition that both reach the database leave each other alone', async () => {
  const nodes = await cluster(4)
  const halves = [nodes.slice(0, 2), nodes.slice(2)] as const
  const whole = await nodes[0]!.write()
  for (const half of halves) for (const node of half) node.sees(half)
  const of = await Promise.all(halves.map((half) => half[0]!.write()))
  // each of them leads for a while: it has the lease when the other one lost it
  for (const half of halves) {
    await t.sql('DELETE FROM leases')
    await upkeepOf([...half, ...nodes.filter((node) => !half.includes(node))])
    for (let rounds = 0; rounds < 2; rounds++) {
      assert.deepEqual(await Promise.all(halves.map((each) => each[1]!.write())), of)
      await upkeepOf(nodes)
    }
  }
  const [{ 0: rows }] = await t.sql<[number]>('SELECT count(*)::int FROM placement_groups') as [[number]]
  assert.equal(rows, whole.length + of[0]!.length + of[1]!.length, 'each half has opened its groups once')
  assert.equal((await inState('open')).length, rows)

  for (const node of nodes) node.sees(nodes)
  await untilOpen(nodes, whole)
  for (const node of nodes) assert.deepEqual(await node.write(), whole)
})

test('a group that somebody has opened since the last report is left to the next one', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes as [PlacingNode, PlacingNode]
  b.sees([b]) // nobody else does, and it has not said so yet
  const opened = await b.write(4)
  a.sees(nodes)
  for (let rounds = 0; rounds < 3; rounds++) {
    await a.renew()
    await a.upkeep.round({ now: '', counters: {} }, new AbortController().signal)
  }
  assert.deepEqual(await inState('open'), opened)
  b.sees(nodes)
  await untilOpen(nodes, [])
})

test('a drive that is offline on a living node: its groups wait for it, as long as the delay', async () => {
  for (const [delayMs, stays] of [[DELAY_MS, true], [0, false]] as const) {
    for (const table of ['placement_groups', 'drives', 'nodes', 'leases', 'blobs', 'objects']) await t.sql(`DELETE FROM ${table}`)
    const nodes = await cluster(2, { delayMs })
    const [a] = nodes as [PlacingNode]
    await a.write()
    const drive = a.drives[0]!.driveId
    const named = idsOf((await t.metadata.placementGroups()).filter(({ members }) => members.includes(drive as DriveId)))
    assert.ok(named.length > 0)
    for (const node of nodes) node.sees(nodes, [drive])
    if (!stays) await until('they are sealed', async () => {
      await upkeepOf(nodes)
      return (await inState('open')).every((id) => !named.includes(id))
    })
    else {
      for (let rounds = 0; rounds < 2; rounds++) await upkeepOf(nodes)
      const open = await inState('open')
      assert.deepEqual(named.filter((id) => !open.includes(id)), [])
    }
  }
})

test('however often the view flaps: what stays are the groups of the slots, and closed ones that hold something', async () => {
  const nodes = await cluster(4)
  const whole = await nodes[0]!.write()
  let written = 0
  for (let flap = 0; flap < 8; flap++) {
    // now one, now two of them are away, each at its time
    const away = new Set([nodes[1 + (flap % 3)]!, ...(flap % 4 === 0 ? [nodes[1 + ((flap + 1) % 3)]!] : [])])
    const here = nodes.filter((node) => !away.has(node))
    for (const node of here) node.sees(here)
    written += (await here[0]!.write()).length
    await upkeepOf(here)
    for (const node of nodes) node.sees(nodes)
    if (flap % 3 === 0) await upkeepOf(nodes)
  }
  // a slot that nobody has written to may want one of the others as well
  const unwanted = async () => (await t.metadata.placementGroups({ states: ['open'] })).filter((group) => !nodes[0]!.groups.wanted().has(groupDigest(group)))
  const emptyClosed = () => t.sql("SELECT id FROM placement_groups AS g WHERE state = 2 AND NOT EXISTS (SELECT FROM blobs WHERE pg_id = g.id)")
  const settled = async () => {
    await upkeepOf(nodes)
    return (await unwanted()).length + (await inState('sealed')).length + (await emptyClosed()).length === 0
  }
  await until('the open groups are what the slots want, and every closed one holds something', settled)
  const open = await inState('open')
  assert.deepEqual(whole.filter((id) => !open.includes(id)), [], 'those of the whole view have never been sealed')
  const closed = await inState('closed')
  assert.ok(closed.length > 0 && closed.length <= written, `${closed.length} of ${written}`)

  // re-encoding brings all of it into the groups of the whole view again
  for (const id of closed) {
    for (const { bucketId: of, blobId, pgId } of await t.metadata.blobsOfGroup(id, null, 1000)) assert.ok(await t.metadata.moveBlob(of, blobId, pgId, whole[0]!, []))
  }
  await until('they are deleted', settled)
  const rows = await t.sql<[number]>('SELECT count(*)::int FROM placement_groups')
  assert.deepEqual(rows, [[open.length]])
  const [[ids, ranges]] = await t.sql<[number, number]>('SELECT sum(last_id - first_id + 1)::int, count(*)::int FROM deleted_groups') as [[number, number]]
  assert.ok(ids >= closed.length && ranges <= open.length + 1, `${ids} ids in ${ranges} ranges`)
})

test('a full group is sealed, and one of a drive that was declared lost, whoever wants them', async () => {
  const nodes = await cluster(2)
  const [a] = nodes as [PlacingNode]
  const whole = await a.write()
  await t.sql('UPDATE placement_groups SET bytes = 1::int8 << 40 WHERE id = $1', [whole[0]])
  await upkeepOf(nodes)
  assert.deepEqual(await inState('open'), whole.slice(1))
  const lost = a.drives[1]!.driveId
  await t.metadata.setDriveState(lost as DriveId, 'lost')
  a.sees(nodes, [lost]) // the other node sees it still
  await upkeepOf(nodes)
  assert.ok((await t.metadata.placementGroups({ states: ['open'] })).every(({ members }) => !members.includes(lost as DriveId)))
})
