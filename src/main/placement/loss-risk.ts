/** What a single loss could cost now: of one more drive, of one node, of one zone. Pure. */
import type { PlacementPlan } from './erasure-code.ts'
import { boundsOf, zoneOf, type PlacementDrive } from './failure-domains.ts'

/** A placement group with data in it. */
export interface GroupAtStake {
  id: number
  k: number
  m: number
  members: readonly string[]
}

/** A drive whose shards can be read now. */
export type ReadableDrive = Pick<PlacementDrive, 'driveId' | 'nodeId' | 'zone'>

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
  /** The same of zones that have a name. */
  zones: ReadonlyMap<string, number[]>
}

/** Those of `groups` that are in danger. A member that cannot be read now counts as lost. */
export function lossRisk(groups: readonly GroupAtStake[], readable: readonly ReadableDrive[]): LossRisk {
  const places = new Map(readable.map((drive) => [drive.driveId, drive]))
  const risk = {
    unreadable: [] as number[], nextDrive: [] as number[], unprotected: [] as number[], nodes: new Map<string, number[]>(), zones: new Map<string, number[]>(),
  }
  for (const { id, k, m, members } of groups) {
    const there = members.flatMap((driveId) => places.get(driveId) ?? [])
    if (there.length < k) {
      risk.unreadable.push(id)
      continue
    }
    if (there.length === k) risk[m === 0 ? 'unprotected' : 'nextDrive'].push(id)
    const spare = there.length - k
    noteIndispensable(risk.nodes, id, spare, there.map(({ nodeId }) => nodeId))
    noteIndispensable(risk.zones, id, spare, there.flatMap(({ zone }) => (zone === '' ? [] : zone)))
  }
  return risk
}

/** @param instances of a domain, one for each shard */
function noteIndispensable(risk: Map<string, number[]>, id: number, spare: number, instances: readonly string[]): void {
  const held = new Map<string, number>()
  for (const instance of instances) held.set(instance, (held.get(instance) ?? 0) + 1)
  for (const [instance, shards] of held) if (shards > spare) risk.set(instance, [...(risk.get(instance) ?? []), id])
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
  const { nodes, zones } = beyondBounds(plan, placeable)
  if (plan !== null && plan.m > 0 && nodes.all.size === 1) {
    if (placeable.length > 1) warnings.push('all drives are on one host: the loss of the host loses data')
    return warnings
  }
  for (const [nodeId, shards] of nodes.beyond) {
    warnings.push(`${nameOf(nodeId)} is not yet expendable: it holds up to ${shards} of ${plan!.k}+${plan!.m} shards of new objects, the loss of it loses data (more drives on other hosts change that)`)
  }
  // of groups that are in danger anyway something was said
  const said = new Set([...risk.nextDrive, ...risk.unprotected])
  for (const [nodeId, ids] of risk.nodes) {
    const more = ids.filter((id) => !said.has(id))
    if (more.length > 0 && !nodes.beyond.has(nodeId)) warnings.push(`the loss of ${nameOf(nodeId)} loses data: ${groupCount(more)} could not be read without it`)
  }
  for (const [zone, shards] of zones.beyond) {
    warnings.push(zones.all.size === 1 ? `all drives are in zone ${zone}: the loss of the zone loses data`
      : `zone ${zone} is not yet expendable: it holds up to ${shards} of ${plan!.k}+${plan!.m} shards of new objects, the loss of it loses data (more drives in other zones change that)`)
  }
  for (const ids of risk.nodes.values()) for (const id of ids) said.add(id)
  for (const [zone, ids] of risk.zones) {
    const more = ids.filter((id) => !said.has(id))
    if (more.length > 0 && !zones.beyond.has(zone)) warnings.push(`the loss of zone ${zone} loses data: ${groupCount(more)} could not be read without it`)
  }
  return warnings
}

interface Crowded {
  all: ReadonlySet<string>
  /** Those that hold more shards of a new group than it may lose, and how many. */
  beyond: ReadonlyMap<string, number>
}

/** Nodes by id; zones by name, and only those of several nodes. */
function beyondBounds(plan: PlacementPlan | null, placeable: readonly PlacementDrive[]): { nodes: Crowded; zones: Crowded } {
  const all = new Set(placeable.map((drive) => drive.nodeId))
  const named = new Set(placeable.map(zoneOf))
  if (plan === null || plan.m === 0) return { nodes: { all, beyond: new Map() }, zones: { all: named, beyond: new Map() } }
  const bounds = boundsOf(placeable, plan, plan.keeps)
  const several = [...new Set(placeable.map(({ zone }) => zone))].filter((zone) =>
    zone !== '' && new Set(placeable.filter((drive) => drive.zone === zone).map(({ nodeId }) => nodeId)).size > 1)
  const held = several.map((zone) => [zone, bounds.zone.get(zoneOf({ zone, nodeId: '' }))!] as const)
  return {
    nodes: { all, beyond: new Map([...bounds.node].filter(([, shards]) => shards > plan.m)) },
    zones: { all: named, beyond: new Map(held.filter(([, shards]) => shards > plan.m)) },
  }
}
