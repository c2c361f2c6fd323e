import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TIB } from '../../shared/limits.ts'
import { chooseErasureCode, type PlacementDrive } from './erasure-code.ts'
import { lossRisk, lossWarnings, type GroupAtStake } from './loss-risk.ts'

const hosts = (...counts: number[]): PlacementDrive[] => counts.flatMap((n, host) =>
  Array.from({ length: n }, (_, i) => ({ driveId: `n${host}d${i}`, nodeId: `n${host}`, zone: '', totalBytes: TIB })))
const group = (id: number, k: number, m: number, members: string): GroupAtStake => ({ id, k, m, members: members.split(' ') })
const warnings = (drives: PlacementDrive[], groups: GroupAtStake[] = [], refusesUnprotected = false) =>
  lossWarnings({ plan: chooseErasureCode(drives, 'auto'), placeable: drives, risk: lossRisk(groups, drives), nameOf: (id) => `node ${id}`, refusesUnprotected })

test('nothing to warn of while any one drive and any one node may go', () => {
  assert.deepEqual(warnings(hosts(1, 1, 1, 1, 1, 1), [group(1, 4, 2, 'n0d0 n1d0 n2d0 n3d0 n4d0 n5d0')]), [])
  assert.deepEqual(warnings(hosts(3, 3), [group(1, 3, 3, 'n0d0 n0d1 n0d2 n1d0 n1d1 n1d2')]), [])
})

test('one host, one drive, none', () => {
  assert.match(warnings(hosts(6)).join(), /^all drives are on one host/)
  assert.match(warnings(hosts(1)).join(), /^new objects are kept once/)
  assert.match(warnings(hosts(1), [], true).join(), /^only one drive takes new shards: writes are refused/)
  assert.match(warnings([]).join(), /^no drive takes new shards/)
})

test('what is kept once is said to be that, and not to wait for a repair', () => {
  const once = group(1, 1, 0, 'n0d0')
  assert.deepEqual(lossRisk([once], hosts(1)), { unreadable: [], nextDrive: [], unprotected: [1], nodes: new Map([['n0', [1]]]), zones: new Map() })
  assert.deepEqual(warnings(hosts(1), [once]), [
    'new objects are kept once, without redundancy: the loss of a drive loses data (give ANVIL_DATA_DIRS more drives, or join more nodes)',
  ])
  assert.deepEqual(warnings(hosts(1, 1), [once]), ['the loss of a drive loses data: what lies in 1 placement group was written once, and is not re-encoded yet'])
  assert.match(warnings(hosts(1), [group(1, 1, 1, 'n0d0 gone')], true)[1]!, /can spare no shard until repaired$/, 'one of two drives is away')
})

test('a host that outweighs the others is named', () => {
  const [line, ...more] = warnings(hosts(6, 1))
  assert.match(line!, /^node n0 is not yet expendable: it holds up to 6 of 4\+2/)
  assert.deepEqual(more, [])
})

test('groups in danger: unreadable, without a spare shard, dependent on a node', () => {
  const drives = hosts(2, 1, 1, 1)
  const groups = [
    group(1, 2, 2, 'n0d0 n0d1 n1d0 gone'),
    group(2, 2, 1, 'n0d0 n1d0 gone'),
    group(3, 2, 2, 'n0d0 gone gone2 gone3'),
    group(4, 2, 2, 'n0d0 n1d0 n2d0 n3d0'),
  ]
  const risk = lossRisk(groups, drives)
  assert.deepEqual(risk.unreadable, [3])
  assert.deepEqual(risk.nextDrive, [2])
  assert.deepEqual([...risk.nodes], [['n0', [1, 2]], ['n1', [2]]])
  assert.deepEqual(warnings(drives, groups), [
    'objects in 1 placement group cannot be read now: too many of their drives are away',
    'the loss of one more drive loses data: 1 placement group can spare no shard until repaired',
    'the loss of node n0 loses data: 1 placement group could not be read without it',
  ])
})

test('zones: one that holds too much of new objects, one without which groups could not be read, all in one', () => {
  const zoned = (...zones: string[]): PlacementDrive[] => zones.map((zone, i) => ({ driveId: `n${i}d0`, nodeId: `n${i}`, zone, totalBytes: TIB }))
  const all = group(1, 4, 2, 'n0d0 n1d0 n2d0 n3d0 n4d0 n5d0')
  assert.deepEqual(warnings(zoned('a', 'a', 'b', 'b', 'c', 'c'), [all]), [])
  // a node was given another zone; new groups keep zones all the same
  const relabelled = zoned('b', 'a', 'b', 'b', 'c', 'c', 'a', 'a')
  assert.deepEqual([...lossRisk([all], relabelled).zones], [['b', [1]]])
  assert.deepEqual(warnings(relabelled, [all]), ['the loss of zone b loses data: 1 placement group could not be read without it'])
  assert.match(warnings(zoned('a', 'a', 'a', 'a', 'a', 'a', 'b')).join(), /^zone a is not yet expendable: it holds up to 6 of 4\+2/)
  assert.deepEqual(warnings(zoned('a', 'a', 'a', 'a', 'a', 'a'), [all]), ['all drives are in zone a: the loss of the zone loses data'])
  // a zone that is away leaves none to spare
  assert.deepEqual(warnings(zoned('a', 'a', 'b', 'b'), [all]), ['the loss of one more drive loses data: 1 placement group can spare no shard until repaired'])
})
