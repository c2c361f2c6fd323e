/** The state of the cluster as this node sees it: members by gossip, the rest of the nodes and drives by the database. */
import type { DriveId, NodeId } from '../shared/ids.ts'
import type { Member } from './membership/contract.ts'
import type { DriveRecord, NodeRecord, ObjectMetadata, PlacementGroup } from './metadata/contract.ts'
import { isNarrower, type ErasureCode, type PlacementDrive, type PlacementPlan } from './placement/erasure-code.ts'
import type { LossRisk } from './placement/loss-risk.ts'
import type { ClusterStatus } from './grpc/generated/anvil/v1/ClusterStatus.ts'
import type { Drive } from './grpc/generated/anvil/v1/Drive.ts'
import type { Node } from './grpc/generated/anvil/v1/Node.ts'
import type { PeerProblem } from './membership/contract.ts'

export interface ClusterStatusInput {
  deploymentId: string
  region: string
  nodeId: NodeId
  /** Whether the databases are run by this node's own supervisor. */
  embedded: boolean
  metadata: Pick<ObjectMetadata, 'nodes' | 'drives' | 'placementGroups' | 'repairBacklog' | 'health'>
  globalHealth(): { state: 'ok' | 'away'; reason: string }
  members(): readonly Member[]
  problems(): readonly PeerProblem[]
  /** Drives that take new shards now, and the code they give. */
  placeable(): readonly PlacementDrive[]
  code(): PlacementPlan | null
  /** What a single loss could cost, over groups with data. */
  risk(): LossRisk
  warnings(): readonly string[]
}

type Registered = Awaited<ReturnType<ObjectMetadata['nodes']>>

/** What the database says is asked again after this time; gossip's part is always new. */
const DATABASE_FRESH_MS = 2000

interface DatabasePart {
  nodes: NodeRecord[]
  drives: DriveRecord[]
  groups: PlacementGroup[]
  backlog: { shards: number; blobs: number }
}

/** Answers from gossip alone, with what the database last said, while the database is away. */
export function clusterStatusSource(input: ClusterStatusInput): () => Promise<ClusterStatus> {
  const { metadata } = input
  let known: DatabasePart = { nodes: [], drives: [], groups: [], backlog: { shards: 0, blobs: 0 } }
  let askedMs = -Infinity
  let asking: Promise<void> | null = null
  const ask = async (): Promise<void> => {
    const [nodes, drives, groups, backlog] = await Promise.all([
      metadata.nodes(), metadata.drives(), metadata.placementGroups(), metadata.repairBacklog(),
    ])
    known = { nodes, drives, groups, backlog }
    askedMs = performance.now()
  }
  return async () => {
    if (metadata.health().state === 'ok' && performance.now() - askedMs > DATABASE_FRESH_MS) {
      asking ??= ask().finally(() => {
        asking = null
      })
      // while it is away its health says why, and what it said before is shown
      await asking.catch((error: unknown) => {
        if (metadata.health().state === 'ok') throw error
      })
    }
    return assemble(input, known)
  }
}

function assemble(input: ClusterStatusInput, { nodes, drives, groups, backlog }: DatabasePart): ClusterStatus {
  const { metadata } = input
  const members = input.members()
  const placeable = input.placeable()
  const code = input.code()
  const risk = input.risk()
  const weak = groups.filter((group) => belowFull(group, code, placeable))
  return {
    deploymentId: input.deploymentId,
    region: input.region,
    nodeId: input.nodeId,
    nodes: nodesOf(members, nodes, drives, input.region, input.problems()),
    redundancy: {
      code: code === null ? '' : `${code.k}+${code.m}`,
      objectsBelowFull: backlog.blobs,
      shardsToRepair: backlog.shards,
      groupsBelowFull: weak.length,
      bytesBelowFull: weak.reduce((sum, group) => sum + group.bytes, 0),
      singleDriveAtRisk: code === null || code.m === 0 || risk.nextDrive.length > 0 || risk.unprotected.length > 0,
      singleNodeAtRisk: code === null || code.keeps === 'drive' || risk.nodes.size > 0,
      singleZoneAtRisk: code === null || code.keeps === 'drive' || (placeable.some(({ zone }) => zone !== '') && code.keeps !== 'zone') || risk.nodes.size > 0 || risk.zones.size > 0,
    },
    metadata: {
      global: { ...input.globalHealth(), embedded: input.embedded },
      regional: { ...metadata.health(), embedded: input.embedded },
    },
    warnings: [...input.warnings()],
    problems: input.problems().map(({ peer, kind, text, sinceMs }) => ({ peer, kind, text, sinceMs })),
  }
}

/** Groups with data in them that protect less than new ones would, or have a member that is not there. */
function belowFull(group: PlacementGroup, code: ErasureCode | null, placeable: readonly PlacementDrive[]): boolean {
  if (group.bytes === 0) return false
  const there = new Set(placeable.map((drive) => drive.driveId))
  return (code !== null && isNarrower(group, code)) || group.members.some((driveId) => !there.has(driveId))
}

function nodesOf(
  members: readonly Member[], registered: Registered, drives: readonly DriveRecord[], region: string, problems: readonly PeerProblem[],
): Node[] {
  const records = new Map(registered.map((record) => [record.nodeId, record]))
  const heardOf = new Set<string>(members.map((member) => member.nodeId))
  const others = [
    ...members.filter(({ self }) => !self).map((member) => memberNode(member, records.get(member.nodeId), drives, problems)),
    ...registered.filter(({ nodeId }) => !heardOf.has(nodeId)).map((record) => registeredNode(record, drives, region, problems)),
  ]
  const refusing = others.find(({ state }) => state === 'refused')
  // each of two refuses the other: the one that is alone with it is no member of the others' cluster
  const isAlone = refusing !== undefined && members.every((member) => member.self || !isThere(member))
  const own = members.filter(({ self }) => self).map((member) => {
    const node = memberNode(member, records.get(member.nodeId), drives, problems)
    return isAlone ? { ...node, state: 'refused', problem: `is no member of the cluster: node ${refusing.id} ${refusing.problem}` } : node
  })
  return [...own, ...others].sort((a, b) => (a.id! < b.id! ? -1 : 1))
}

const STATE_BY_LEASE = { held: 'suspect', expired: 'dead', released: 'left' } as const
/** Nodes that have one of these with each other are not of one cluster, however well they answer. */
const REFUSALS = new Set<PeerProblem['kind']>(['wrong-secret', 'wrong-deployment', 'wrong-region', 'duplicate-node', 'protocol'])

function registeredNode(
  { nodeId, zone, addrs, grpcAddr, version, lease }: NodeRecord, drives: readonly DriveRecord[], region: string, problems: readonly PeerProblem[],
): Node {
  const problem = lease === 'held' ? problemWith(nodeId, addrs, problems) : undefined
  const state = problem !== undefined && REFUSALS.has(problem.kind) ? 'refused' : STATE_BY_LEASE[lease]
  return {
    id: nodeId, region, zone, addrs, grpcAddr, version, state, changedMs: 0, drives: drivesOf(nodeId, drives, new Map()), problem: problem?.text ?? '',
  }
}

function memberNode(member: Member, record: NodeRecord | undefined, registered: readonly DriveRecord[], problems: readonly PeerProblem[]): Node {
  const { nodeId, region, zone, addrs, grpcAddr, version, state, changedMs, drives } = member
  const announced = new Map(drives.map((drive) => [drive.driveId, drive]))
  const problem = problemWith(nodeId, addrs, problems)
  const isRefused = problem !== undefined && REFUSALS.has(problem.kind)
  return {
    id: nodeId, region, zone, addrs, grpcAddr, version, changedMs,
    // its lease says that it runs
    state: state === 'dead' && isRefused && record?.lease === 'held' ? 'refused' : state,
    drives: drivesOf(nodeId, registered, isThere(member) ? announced : new Map()),
    // that one who is gone does not answer is no news
    problem: isRefused || (isThere(member) && problem !== undefined) ? problem.text : '',
  }
}

const isThere = ({ state }: Member): boolean => state === 'alive' || state === 'suspect'

/** Told of its id, or of one of its addresses with or without it; a refusal before anything else. */
function problemWith(nodeId: NodeId, addrs: readonly string[], problems: readonly PeerProblem[]): PeerProblem | undefined {
  const forms = new Set<string>([nodeId, ...addrs, ...addrs.map((addr) => `${addr}/p2p/${nodeId}`)])
  const mine = problems.filter(({ peer }) => forms.has(peer))
  return mine.find(({ kind }) => REFUSALS.has(kind)) ?? mine[0]
}

function drivesOf(nodeId: NodeId, registered: readonly DriveRecord[], announced: ReadonlyMap<DriveId, Member['drives'][number]>): Drive[] {
  const mine = registered.filter((drive) => drive.nodeId === nodeId)
  const known = new Set(mine.map((drive) => drive.driveId))
  // announced a moment ago, and not read from the database since
  const fresh = [...announced.values()].filter((drive) => !known.has(drive.driveId))
    .map(({ driveId, state, totalBytes, freeBytes }) => ({ id: driveId, state, path: '', totalBytes, freeBytes }))
  return mine.map(({ driveId, path, totalBytes, state }) => {
    const now = announced.get(driveId)
    if (state === 'lost') return { id: driveId, state: 'lost', path, totalBytes, freeBytes: -1 }
    if (now === undefined) return { id: driveId, state: 'offline', path, totalBytes, freeBytes: -1 }
    return { id: driveId, state: now.state, path, totalBytes: now.totalBytes, freeBytes: now.freeBytes }
  }).concat(fresh)
}
