import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DriveId, NodeId } from '../../shared/ids.ts'
import { TIB } from '../../shared/limits.ts'
import type { DriveRecord, NodeRecord } from '../metadata/contract.ts'
import type { PlacementDrive } from '../placement/erasure-code.ts'
import { PlacementGroups, type PlacementOptions } from '../placement/groups.ts'
import { StandingDrives } from './absent-drives.ts'
import type { ClusterView } from './cluster-view.ts'
import { DriveSituations } from './drive-situation.ts'

const DELAY_MS = 900_000
const GONE = { lease: 'expired', awayMs: DELAY_MS } as const

/** Four nodes of one drive each: d0 on n0 and so on. What the tests change they change in place. */
class Region {
  readonly nodes = new Map<string, NodeRecord>()
  readonly drives = new Map<string, DriveRecord>()
  /** Drives that take shards, as their nodes announce them. */
  readonly announced = new Map<string, PlacementDrive>()
  readonly answering = new Set<string>()
  /** Given up by gossip. */
  readonly givenUp = new Set<string>()
  nowMs = 0
  readonly #view = { version: 0 }
  readonly options

  constructor() {
    for (const i of [0, 1, 2, 3]) {
      const [nodeId, driveId] = [`n${i}` as NodeId, `d${i}` as DriveId]
      this.nodes.set(nodeId, { nodeId, addrs: [], grpcAddr: '', zone: '', version: '', leaseUntilMs: 0, awayMs: 0, lease: 'held' })
      this.drives.set(driveId, { driveId, nodeId, path: '', totalBytes: TIB, state: 'active' })
      this.announced.set(driveId, { driveId, nodeId, zone: '', totalBytes: TIB })
      this.answering.add(nodeId)
    }
    const cluster = {
      placeable: () => [...this.announced.values()], nodes: () => [...this.answering] as NodeId[], isGone: (nodeId: NodeId) => this.givenUp.has(nodeId),
    } as unknown as ClusterView
    const groups = new PlacementGroups({
      view: () => ({ version: this.#view.version++, drives: cluster.placeable(), everTwoDrives: true }), erasureCode: 'auto', allowUnprotectedWrites: false,
    } as PlacementOptions)
    this.options = {
      metadata: { nodes: () => Promise.resolve([...this.nodes.values()]), drives: () => Promise.resolve([...this.drives.values()]) },
      cluster, groups, delayMs: DELAY_MS, nowMs: () => this.nowMs,
    }
  }

  node(nodeId: string, change: Partial<NodeRecord>): void {
    this.nodes.set(nodeId, { ...this.nodes.get(nodeId)!, ...change })
  }

  /** Its node does not answer. */
  falls(i: number): void {
    this.announced.delete(`d${i}`)
    this.answering.delete(`n${i}`)
    this.givenUp.add(`n${i}`)
  }
}

const codeOf = (code: { k: number; m: number } | null): string => `${code?.k}+${code?.m}`

test('a drive that is away for a while counts for the code that is settled, one that is gone for good does not', async () => {
  const region = new Region()
  const situations = new DriveSituations(region.options)
  const all = await situations.now()
  assert.deepEqual([codeOf(all.code), codeOf(all.settledCode), all.whole, [...all.gone]], ['2+2', '2+2', true, []])
  region.falls(3)
  const away = await situations.now()
  assert.deepEqual([codeOf(away.code), codeOf(away.settledCode), away.whole, [...away.gone]], ['1+2', '2+2', false, []])
  region.node('n3', { lease: 'expired', awayMs: DELAY_MS - 1 })
  assert.equal((await situations.now()).whole, false, 'the delay is not over')
  region.node('n3', GONE)
  const gone = await situations.now()
  assert.deepEqual([codeOf(gone.code), codeOf(gone.settledCode), gone.whole, [...gone.gone]], ['1+2', '1+2', true, ['d3']])
})

test('gone for good is what gossip has given up and whose lease has ended; a node without a row is neither', async () => {
  const region = new Region()
  region.falls(3)
  region.node('n3', { ...GONE, lease: 'held' })
  assert.deepEqual([...(await new DriveSituations(region.options).now()).gone], [], 'it renews its lease')
  region.node('n3', GONE)
  region.givenUp.clear()
  assert.deepEqual([...(await new DriveSituations(region.options).now()).gone], [], 'gossip hears of it')
  region.givenUp.add('n3')
  region.nodes.delete('n3')
  assert.deepEqual([...(await new DriveSituations(region.options).now()).gone], [])
})

test('a drive of a node that answers is away for the delay from when it was last seen to take shards', async () => {
  const region = new Region()
  const situations = new DriveSituations(region.options)
  region.nowMs = 10 * DELAY_MS
  assert.equal((await situations.now()).whole, true)
  region.announced.delete('d3')
  region.nowMs += DELAY_MS - 1
  assert.equal((await situations.now()).whole, false)
  region.nowMs += 1
  assert.equal((await situations.now()).whole, true, 'full, or its disk is out: it is not waited for')
  // one that this process has never seen, since it has started
  const later = new DriveSituations(region.options)
  assert.equal((await later.now()).whole, false)
  region.nowMs += DELAY_MS
  assert.equal((await later.now()).whole, true)
})

test('a lost drive is not waited for, and one that takes shards is not gone, wherever it is now', async () => {
  const region = new Region()
  const situations = new DriveSituations(region.options)
  region.falls(3)
  region.drives.set('d3', { ...region.drives.get('d3')!, state: 'lost' })
  const lost = await situations.now()
  assert.deepEqual([lost.whole, [...lost.lost], codeOf(lost.settledCode)], [true, ['d3'], '1+2'])

  region.falls(2)
  region.node('n2', GONE)
  region.announced.set('d2', { driveId: 'd2', nodeId: 'n0', zone: 'z', totalBytes: TIB })
  const carried = await situations.now()
  assert.deepEqual([...carried.gone], [])
  assert.deepEqual([carried.known.get('d2')?.nodeId, carried.known.get('d1')?.nodeId], ['n0', 'n1'], 'what it says itself is newer than its row')
})

test('what is away counts with the size that it announced last', async () => {
  const region = new Region()
  const standing = new StandingDrives(region.options)
  region.announced.set('d3', { driveId: 'd3', nodeId: 'n3', zone: '', totalBytes: 2 * TIB })
  standing.note()
  region.falls(3)
  const known = [...region.drives.values()].map(({ driveId, nodeId, totalBytes }) => ({ driveId, nodeId, zone: '', totalBytes }))
  const look = { gone: new Set<DriveId>(), lost: new Set<DriveId>(), known }
  assert.deepEqual(standing.of(look).map(({ totalBytes }) => totalBytes / TIB), [1, 1, 1, 2])
})
