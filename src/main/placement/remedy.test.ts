import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PLACEMENT_SLOTS, TIB } from '../../shared/limits.ts'
import { chooseErasureCode, type PlacementDrive } from './erasure-code.ts'
import { leastSurvived, lossesSurvived, survivesMore } from './losses-survived.ts'
import { allWinners, slotWinners } from './rendezvous.ts'
import { remedyFor, type DriveSituation, type GroupInNeed } from './remedy.ts'

/** `counts[i]` drives on node i; `zones[i]` is its zone. */
const hosts = (counts: readonly number[], zones: readonly string[] = []): PlacementDrive[] => counts.flatMap((n, host) =>
  Array.from({ length: n }, (_, i) => ({ driveId: `n${host}d${i}`, nodeId: `n${host}`, zone: zones[host] ?? '', totalBytes: TIB })))

interface Fate {
  /** Nodes that are gone for good, and those that are away. */
  gone?: readonly string[]
  away?: readonly string[]
  lost?: readonly string[]
}

function situation(all: readonly PlacementDrive[], { gone = [], away = [], lost = [] }: Fate = {}): DriveSituation {
  const settled = all.filter(({ driveId, nodeId }) => !gone.includes(nodeId) && !lost.includes(driveId))
  const placeable = settled.filter(({ nodeId }) => !away.includes(nodeId))
  const code = chooseErasureCode(placeable, 'auto')
  const places = new Map(all.map((drive) => [drive.driveId, drive]))
  return {
    placeable, known: places, code, settledCode: chooseErasureCode(settled, 'auto'), whole: placeable.length === settled.length, lost: new Set(lost),
    gone: new Set(all.filter(({ nodeId }) => gone.includes(nodeId)).map(({ driveId }) => driveId)),
    fresh: code === null ? null : leastSurvived(allWinners(PLACEMENT_SLOTS, placeable, code).map((members) => lossesSurvived(code.k, members.map((id) => places.get(id)!)))),
  }
}

/** The group of a slot while all drives lived. */
function groupOf(all: readonly PlacementDrive[], slot = 0): GroupInNeed {
  const plan = chooseErasureCode(all, 'auto')!
  return { id: slot + 1, k: plan.k, m: plan.m, members: slotWinners(slot, all, plan) }
}
const kindOf = (all: readonly PlacementDrive[], fate: Fate, slot = 0) => remedyFor(groupOf(all, slot), situation(all, fate)).kind

test('a member that is dead for good and no spare drive: re-encoded, where new groups outlive more', () => {
  const six = hosts([1, 1, 1, 1, 1, 1])
  assert.equal(kindOf(six, {}), 'none')
  assert.equal(kindOf(six, { gone: ['n3'] }), 're-encode', '4+2 less one outlives one loss, 3+2 two')
  assert.equal(kindOf(six, { gone: ['n3', 'n4'] }), 're-encode', '4+2 less two outlives none, 2+2 two')
  assert.equal(kindOf(six, { gone: ['n1', 'n3', 'n4'] }), 'none', 'nothing can be read until one of them is back')
  assert.equal(kindOf(hosts([1, 1, 1, 1]), { gone: ['n0'] }), 're-encode', '2+2 less one outlives one loss, 1+2 two')
  assert.equal(kindOf(hosts([1, 1, 1]), { gone: ['n0'] }), 'none', '1+2 less one outlives as much as 1+1')
  assert.equal(kindOf(hosts([1, 1]), { gone: ['n0'] }), 'none')
  assert.equal(kindOf(hosts([2, 2, 2]), { gone: ['n1'] }), 're-encode', '2+2 on two hosts outlives a host')
})

test('a drive that an operator declared lost is like one of a dead node, but for the moves', () => {
  const six = hosts([6])
  assert.equal(kindOf(six, { lost: ['n0d2'] }), 're-encode')
  const seven = hosts([1, 1, 1, 1, 1, 1, 1])
  const member = groupOf(seven).members[0]!
  assert.equal(kindOf(seven, { lost: [member] }), 're-encode', 'into 4+2')
  assert.equal(kindOf(hosts([1, 1, 1]), { lost: ['n0d0'] }), 'none')
  const eight = hosts([1, 1, 1, 1, 1, 1, 1, 1])
  const group = groupOf(eight)
  const spare = eight.find(({ driveId }) => !group.members.includes(driveId))!.nodeId
  const fate = { lost: [group.members[0]!], away: [spare] }
  assert.equal(remedyFor(group, situation(eight, fate)).kind, 're-encode', 'whoever is away, as long as the code is the same')
})

test('with a spare drive the shard moves; one that crowds a node or zone is no spare', () => {
  const seven = hosts([1, 1, 1, 1, 1, 1, 1])
  const group = groupOf(seven)
  const remedy = remedyFor(group, situation(seven, { gone: [seven.find(({ driveId }) => driveId === group.members[2])!.nodeId] }))
  assert.deepEqual(remedy, { kind: 'move', index: 2, to: seven.find(({ driveId }) => !group.members.includes(driveId))!.driveId })
  // three hosts of three: on the two that are left 4+2 would lie three and three
  const nine = hosts([3, 3, 3])
  assert.equal(kindOf(nine, { gone: ['n1'] }), 're-encode', 'into 3+3')
  // three zones of two hosts, and one host more in the first: it would hold a third shard there
  const zoned = hosts([1, 1, 1, 1, 1, 1, 1], ['a', 'a', 'b', 'b', 'c', 'c', 'a'])
  const kept: GroupInNeed = { id: 1, k: 4, m: 2, members: ['n0d0', 'n1d0', 'n2d0', 'n3d0', 'n4d0', 'n5d0'] }
  const gone = situation(zoned, { gone: ['n4'] })
  assert.ok(survivesMore(gone.fresh!, { drives: 2, nodes: 2, zones: 0 }), JSON.stringify([gone.code, gone.fresh]))
  assert.equal(remedyFor(kept, gone).kind, 're-encode')
  assert.deepEqual(remedyFor(kept, gone, true), { kind: 'move', index: 4, to: 'n6d0' }, 'where there is no room for more than a shard')
})

test('what only lasts for a reboot is no reason', () => {
  const six = hosts([1, 1, 1, 1, 1, 1])
  assert.equal(kindOf(six, { away: ['n2'] }), 'none')
  assert.equal(kindOf(six, { gone: ['n3'], away: ['n2'] }), 'wait', '2+2 now, 3+2 in a moment')
  assert.equal(kindOf(hosts([1, 1, 1]), { gone: ['n0'], away: ['n1'] }), 'none', 'there is nothing to wait for')
  // 4+2 on three hosts of three; with one of them away new groups are 3+3
  const nine = hosts([3, 3, 3])
  assert.deepEqual([situation(nine, { away: ['n0'] }).code, situation(nine).code].map((plan) => `${plan!.k}+${plan!.m}`), ['3+3', '4+2'])
  assert.equal(kindOf(nine, { away: ['n0'] }), 'none')
  const narrow: GroupInNeed = { id: 1, k: 1, m: 1, members: ['n0d0', 'n1d0'] }
  assert.equal(remedyFor(narrow, situation(six, { away: ['n5'] })).kind, 're-encode', 'what is narrower than both is widened meanwhile')
})

test('groups that came to lie on too few nodes or in too few zones are re-encoded, once nobody is away', () => {
  const labels = ['a', 'a', 'b', 'b', 'c', 'c']
  const group: GroupInNeed = { id: 1, k: 4, m: 2, members: ['n0d0', 'n1d0', 'n2d0', 'n3d0', 'n4d0', 'n5d0'] }
  const six = hosts([1, 1, 1, 1, 1, 1], labels)
  assert.equal(remedyFor(group, situation(six)).kind, 'none')
  // the first node is in zone b now, and two more hosts make up for it
  const relabelled = hosts([1, 1, 1, 1, 1, 1, 1, 1], ['b', ...labels.slice(1), 'a', 'c'])
  assert.equal(remedyFor(group, situation(relabelled)).kind, 're-encode')
  assert.equal(remedyFor(group, situation(relabelled, { away: ['n7'] })).kind, 'none')
  assert.equal(remedyFor(group, situation(hosts([1, 1, 1, 1, 1, 1], ['b', ...labels.slice(1)]))).kind, 're-encode', 'into 3+2, which keeps the zones')
  assert.equal(remedyFor(group, situation(hosts([1, 1, 1, 1, 1, 1], labels.map(() => 'a')))).kind, 'none', 'there is no better place')
  // what was written on one host of six drives, when two more have joined
  const old: GroupInNeed = { id: 1, k: 4, m: 2, members: hosts([6]).map(({ driveId }) => driveId) }
  assert.equal(remedyFor(old, situation(hosts([6, 6, 6]))).kind, 're-encode')
  assert.equal(remedyFor(old, situation(hosts([6]))).kind, 'none')
})

test('whatever dies: what was re-encoded stays, until drives come; and each remedy leads to more', () => {
  const cluster = fc.record({
    counts: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 7 }),
    zones: fc.array(fc.constantFrom('', 'a', 'b', 'c'), { minLength: 7, maxLength: 7 }),
    relabelled: fc.array(fc.constantFrom('', 'a', 'b', 'c'), { minLength: 7, maxLength: 7 }),
    dead: fc.array(fc.nat(6), { maxLength: 3 }),
    away: fc.array(fc.nat(6), { maxLength: 1 }),
    slot: fc.nat(PLACEMENT_SLOTS - 1),
  })
  fc.assert(fc.property(cluster, ({ counts, zones, relabelled, dead, away, slot }) => {
    const now = situation(hosts(counts, relabelled), { gone: dead.map((i) => `n${i}`), away: away.map((i) => `n${i}`) })
    const places = (group: GroupInNeed): PlacementDrive[] => group.members.filter((id) => !now.gone.has(id)).map((id) => now.known.get(id)!)
    let group = groupOf(hosts(counts, zones), slot)
    const codes = [`${group.k}+${group.m}`]
    for (let steps = 0; ; steps++) {
      assert.ok(steps < 8, `no end: ${codes.join(' ')}`)
      const remedy = remedyFor(group, now)
      const before = lossesSurvived(group.k, places(group))
      if (remedy.kind === 're-encode') {
        group = { id: group.id, ...now.code!, members: slotWinners(slot, now.placeable, chooseErasureCode(now.placeable, 'auto')!) }
        codes.push(`${group.k}+${group.m}`)
        assert.ok(steps === 0 || codes.length === 2, `re-encoded again: ${codes.join(' ')}`)
      } else if (remedy.kind === 'move') {
        group = { ...group, members: group.members.map((id, i) => (i === remedy.index ? remedy.to : id)) }
      } else return
      const after = lossesSurvived(group.k, places(group))
      assert.ok(before === null || after !== null, 'it could be read before')
      if (before !== null) assert.ok(after!.drives >= before.drives, JSON.stringify({ before, after }))
    }
  }), { numRuns: 2000 })
})
