import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PLACEMENT_SLOTS, TIB } from '../../shared/limits.ts'
import { chooseErasureCode, type PlacementDrive } from './erasure-code.ts'
import { boundsOf, zoneOf } from './failure-domains.ts'
import { allWinners, slotWinners } from './rendezvous.ts'

const drives = (n: number, node = 'a', zone = ''): PlacementDrive[] =>
  Array.from({ length: n }, (_, i) => ({ driveId: `${node}${i}`, nodeId: node, zone, totalBytes: TIB }))
const hosts = (...counts: number[]): PlacementDrive[] => counts.flatMap((n, i) => drives(n, `n${i}`))
const code = (list: PlacementDrive[], wish: Parameters<typeof chooseErasureCode>[1] = 'auto') => {
  const plan = chooseErasureCode(list, wish)
  return plan === null ? null : `${plan.k}+${plan.m} ${plan.keeps}`
}

test('the automatic code of one host', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 16].map((n) => code(drives(n))),
    [null, '1+0 drive', '1+1 drive', '1+2 drive', '2+2 drive', '3+2 drive', '4+2 drive', '4+2 drive', '4+2 drive'])
})

test('hosts of one drive each are like drives of one host, and each of them may be lost', () => {
  assert.deepEqual([2, 3, 4, 5, 6, 7, 30].map((n) => code(hosts(...Array<number>(n).fill(1)))),
    ['1+1 node', '1+2 node', '2+2 node', '3+2 node', '4+2 node', '4+2 node', '4+2 node'])
})

test('the automatic code of several hosts keeps at most m shards on one', () => {
  assert.equal(code(hosts(3, 3)), '3+3 node')
  assert.equal(code(hosts(6, 6)), '3+3 node')
  assert.equal(code(hosts(2, 2, 2)), '4+2 node')
  assert.equal(code(hosts(2, 2)), '2+2 node')
  assert.equal(code(hosts(2, 1)), '1+2 node')
  assert.equal(code(hosts(6, 5)), '3+3 node', 'a failed drive does not cost the failure domain')
  assert.equal(code(hosts(6, 4)), '3+3 node')
  assert.equal(code(hosts(6, 6, 1)), '3+3 node')
  assert.equal(code(hosts(6, 6, 6)), '4+2 node')
})

test('a newcomer with one drive beside a host of six does not narrow the code, and holds m shards of a group at most', () => {
  const list = hosts(6, 1)
  assert.equal(code(list), '4+2 drive')
  assert.equal(code(list, { k: 4, m: 2 }), '4+2 drive')
  assert.equal(code(hosts(6, 1, 1)), '4+2 drive')
  const winners = allWinners(PLACEMENT_SLOTS, hosts(7, 3), { k: 4, m: 2, keeps: 'drive' })
  for (const slot of winners) assert.ok(slot.filter((id) => id.startsWith('n1')).length <= 2, String(slot))
})

test('zones are kept where they can be', () => {
  const racks = (...perRack: number[]) => perRack.flatMap((n, z) => Array.from({ length: n }, (_, i) => drives(1, `z${z}n${i}`, `rack${z}`)).flat())
  assert.equal(code(racks(3, 3)), '3+3 zone')
  assert.equal(code(racks(2, 2, 2)), '4+2 zone')
  assert.equal(code(racks(6)), '4+2 node')
  assert.equal(code(racks(6, 1)), '4+2 node', 'the nodes are kept still')
  assert.equal(code([...racks(2, 2), ...drives(1, 'x'), ...drives(1, 'y')]), '4+2 zone', 'a node without a zone is its own')
})

test("an operator's code is kept while drives suffice, and narrows like auto below", () => {
  assert.equal(code(drives(12), { k: 8, m: 3 }), '8+3 drive')
  assert.equal(code(drives(10), { k: 8, m: 3 }), '4+2 drive')
  assert.equal(code(drives(3), { k: 2, m: 1 }), '2+1 drive')
  assert.equal(code(drives(2), { k: 2, m: 1 }), '1+1 drive')
  assert.equal(code(drives(1), { k: 2, m: 1 }), '1+0 drive')
  assert.equal(code(hosts(1, 1, 1), { k: 2, m: 1 }), '2+1 node')
  assert.equal(code(hosts(4, 4, 4, 4), { k: 8, m: 3 }), '8+3 node')
  assert.equal(code(hosts(4, 4, 4), { k: 8, m: 3 }), '4+2 node')
  assert.equal(code(hosts(3, 3), { k: 4, m: 2 }), '3+3 node')
})

test('winners are distinct, spread by weight, and move only where a drive comes or goes', () => {
  const six = drives(6)
  const seven = [...six, ...drives(1, 'new').map((drive) => ({ ...drive, nodeId: 'a' }))]
  const plan = { k: 2, m: 1, keeps: 'drive' } as const
  let changed = 0
  const first = new Map<string, number>()
  for (let slot = 0; slot < PLACEMENT_SLOTS; slot++) {
    const before = slotWinners(slot, six, plan)
    const after = slotWinners(slot, seven, plan)
    assert.equal(new Set(before).size, 3)
    if (after.includes('new0')) changed++
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
  for (const [winner] of allWinners(4096, list, { k: 1, m: 0, keeps: 'drive' })) {
    if (winner === 'a0') big++
    else other++
  }
  const ratio = big / (other / 7)
  assert.ok(ratio > 1.7 && ratio < 2.3, `ratio ${ratio}`)
})

/** Any mix of zones, nodes and drives of different sizes. */
const cluster = fc.array(fc.record({
  zone: fc.constantFrom('', 'r1', 'r2', 'r3'),
  sizes: fc.array(fc.constantFrom(TIB / 2, TIB, TIB, 2 * TIB, 8 * TIB), { minLength: 1, maxLength: 6 }),
}), { minLength: 1, maxLength: 8 }).map((nodes) =>
  nodes.flatMap(({ zone, sizes }, n) => sizes.map((totalBytes, d): PlacementDrive => ({ driveId: `n${n}d${d}`, nodeId: `n${n}`, zone, totalBytes }))))
const wish = fc.oneof(fc.constant('auto' as const), fc.record({ k: fc.integer({ min: 1, max: 8 }), m: fc.integer({ min: 1, max: 4 }) }))

const most = (ids: string[]): number => {
  const counts = new Map<string, number>()
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return Math.max(...counts.values())
}

test('for any mix of drives, nodes and zones the winners keep what the plan says', () => {
  fc.assert(fc.property(cluster, wish, fc.nat(255), (list, wished, slot) => {
    const plan = chooseErasureCode(list, wished)!
    const winners = slotWinners(slot, list, plan)
    assert.equal(new Set(winners).size, plan.k + plan.m)
    assert.ok(plan.m >= 1 || list.length === 1)
    const won = winners.map((id) => list.find((drive) => drive.driveId === id)!)
    if (plan.keeps !== 'drive') assert.ok(most(won.map((drive) => drive.nodeId)) <= plan.m, `${plan.k}+${plan.m} ${plan.keeps}: ${winners.join(' ')}`)
    if (plan.keeps === 'zone') assert.ok(most(won.map(zoneOf)) <= plan.m, `${plan.k}+${plan.m}: ${winners.join(' ')}`)
  }), { numRuns: 500 })
})

test('the order in which drives are named changes nothing', () => {
  fc.assert(fc.property(cluster.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))), fc.nat(255), ([list, shuffled], slot) => {
    const plan = chooseErasureCode(list, 'auto')!
    assert.deepEqual(chooseErasureCode(shuffled, 'auto'), plan)
    assert.deepEqual(slotWinners(slot, shuffled, plan), slotWinners(slot, list, plan))
  }), { numRuns: 200 })
})

test('under the same plan a drive that joins takes one place of a slot, or none', () => {
  fc.assert(fc.property(cluster, fc.nat(255), fc.nat(9), (list, slot, node) => {
    const plan = chooseErasureCode(list, 'auto')!
    const before = slotWinners(slot, list, plan)
    const host = list.find((drive) => drive.nodeId === `n${node}`)
    const joining: PlacementDrive = { driveId: 'new', nodeId: `n${node}`, zone: host?.zone ?? '', totalBytes: TIB }
    // where a domain is not kept, its bounds follow the drives' shares of the whole, which the newcomer changes
    const [old, now] = [boundsOf(list, plan, plan.keeps), boundsOf([...list, joining], plan, plan.keeps)]
    fc.pre(list.length > 1 && [...old.node].every(([id, most]) => now.node.get(id) === most) && [...old.zone].every(([id, most]) => now.zone.get(id) === most))
    const after = slotWinners(slot, [...list, joining], plan)
    const kept = after.filter((id) => before.includes(id))
    if (after.includes('new')) assert.equal(kept.length, before.length - 1)
    else assert.deepEqual(after, before)
  }), { numRuns: 300 })
})
