/** What a single loss could cost now: of one more drive, of one node. Pure. */
import type { PlacementPlan } from './erasure-code.ts'
import { boundsOf, type PlacementDrive } from './failure-domains.ts'

/** A placement group with data in it. */
export interface GroupAtStake {
  id: number
  k: number
  m: number
  members: readonly string[]
}

/** A drive whose shards can be read now. */
export type ReadableDrive = Pick<PlacementDrive, 'driveId' | 'nodeId'>

/** Ids of groups, by what endangers them. */
export interface LossRisk {
  /** Fewer than k of their shards can be read now. */
  unreadable: number[]
  /** Exactly k of their shards can be read, of more that there should be: no drive more may fail. */
  nextDrive: number[]
  /** They never had a shard to spare, and can be read. */
  unprotected: number[]
  /** Node: groups that could not be read without it. */
  nodes: ReadonlyMap<string, number[]>
}

/** Those of `groups` that are in danger. A member that cannot be read now counts as lost. */
export function lossRisk(groups: readonly GroupAtStake[], readable: readonly ReadableDrive[]): LossRisk {
  const nodeOf = new Map(readable.map((drive) => [drive.driveId, drive.nodeId]))
  const risk = { unreadable: [] as number[], nextDrive: [] as number[], unprotected: [] as number[], nodes: new Map<string, number[]>() }
  for (const { id, k, m, members } of groups) {
    const held = new Map<string, number>()
    for (const driveId of members) {
      const node = nodeOf.get(driveId)
      if (node !== undefined) held.set(node, (held.get(node) ?? 0) + 1)
    }
    const there = [...held.values()].reduce((sum, shards) => sum + shards, 0)
    if (there < k) {
      risk.unreadable.push(id)
      continue
    }
    if (there === k) risk[m === 0 ? 'unprotected' : 'nextDrive'].push(id)
    for (const [node, shards] of held) {
      if (there - shards >= k) continue
      const ids = risk.nodes.get(node)
      if (ids === undefined) risk.nodes.set(node, [id])
      else ids.push(id)
    }
  }
  return risk
}

export interface LossWarningsInput {
  /** The plan for new groups, and the drives that it rests on. */
  plan: PlacementPlan | null
  placeable: readonly PlacementDrive[]
  /** Over groups with data in them. */
  risk: LossRisk
  /** How people know a node. */
  nameOf(nodeId: string): string
  /** Nothing is written without redundancy: the deployment has had two drives. */
  refusesUnprotected: boolean
}

const groupCount = (ids: readonly number[]): string => (ids.length === 1 ? '1 placement group' : `${ids.length} placement groups`)

/** One line each for people, the most urgent first. Empty while any single loss would cost no data. */
export function lossWarnings({ plan, placeable, risk, nameOf, refusesUnprotected }: LossWarningsInput): string[] {
  const warnings: string[] = []
  if (risk.unreadable.length > 0) warnings.push(`objects in ${groupCount(risk.unreadable)} cannot be read now: too many of their drives are away`)
  if (plan === null) warnings.push('no drive takes new shards: writes are refused')
  else if (plan.m === 0 && refusesUnprotected) warnings.push('only one drive takes new shards: writes are refused, since nothing is written without redundancy where there was some')
  else if (plan.m === 0) warnings.push('new objects are kept once, without redundancy: the loss of a drive loses data (give ANVIL_DATA_DIRS more drives, or join more nodes)')
  if (risk.nextDrive.length > 0) warnings.push(`the loss of one more drive loses data: ${groupCount(risk.nextDrive)} can spare no shard until repaired`)
  // while new ones are kept so, too, that was said
  if (plan?.m !== 0 && risk.unprotected.length > 0) warnings.push(`the loss of a drive loses data: what lies in ${groupCount(risk.unprotected)} was written once, and is not re-encoded yet`)
  const nodes = new Set(placeable.map((drive) => drive.nodeId))
  if (plan !== null && plan.m > 0 && nodes.size === 1) {
    if (placeable.length > 1) warnings.push('all drives are on one host: the loss of the host loses data')
    return warnings
  }
  for (const [nodeId, shards] of notExpendable(plan, placeable)) {
    warnings.push(`${nameOf(nodeId)} is not yet expendable: it holds up to ${shards} of ${plan!.k}+${plan!.m} shards of new objects, the loss of it loses data (more drives on other hosts change that)`)
  }
  for (const [nodeId, ids] of risk.nodes) {
    // groups that are in danger anyway, and nodes that were named above
    const more = ids.filter((id) => !risk.nextDrive.includes(id) && !risk.unprotected.includes(id))
    if (more.length > 0 && !warnings.some((line) => line.startsWith(`${nameOf(nodeId)} is not yet expendable`))) {
      warnings.push(`the loss of ${nameOf(nodeId)} loses data: ${groupCount(more)} could not be read without it`)
    }
  }
  return warnings
}

/** Nodes that hold more shards of a new group than it may lose, and how many. */
function notExpendable(plan: PlacementPlan | null, placeable: readonly PlacementDrive[]): [nodeId: string, shards: number][] {
  if (plan === null || plan.m === 0 || plan.keeps !== 'drive') return []
  const bounds = boundsOf(placeable, plan, plan.keeps)
  return [...bounds.node].filter(([, shards]) => shards > plan.m)
}
