/**
 * Failure domains: a drive lies on a node, a node in a zone (DESIGN §7). How many shards of a placement group each node
 * and zone may hold, and how much of the drives can be filled under such bounds. Pure.
 */
export interface PlacementDrive {
  driveId: string
  nodeId: string
  /** ANVIL_ZONE of the node; '': the node is a zone of its own. */
  zone: string
  /** Total bytes: weight in rendezvous hashing. */
  totalBytes: number
}

export type FailureDomain = 'drive' | 'node' | 'zone'

interface Code {
  k: number
  m: number
}

/** Zones have names, nodes have ids: neither may stand for the other. */
export const zoneOf = (drive: Pick<PlacementDrive, 'nodeId' | 'zone'>): string => (drive.zone === '' ? `node ${drive.nodeId}` : `zone ${drive.zone}`)

/** A drive without a size counts as one byte, so that nothing is divided by zero. */
export const weightOf = (drive: PlacementDrive): number => Math.max(drive.totalBytes, 1)

/** The domains above the drive that these drives have more than one of, the narrower first. */
export function domainsOf(drives: readonly PlacementDrive[]): FailureDomain[] {
  const nodes = new Set(drives.map((drive) => drive.nodeId)).size
  const zones = new Set(drives.map(zoneOf)).size
  if (nodes < 2) return []
  return zones > 1 && drives.some((drive) => drive.zone !== '') ? ['node', 'zone'] : ['node']
}

/** The drives in the order of their ids, as a tree: sums of it are then the same on every node. */
function tree(drives: readonly PlacementDrive[]): PlacementDrive[][][] {
  const zones = new Map<string, Map<string, PlacementDrive[]>>()
  for (const drive of drives.toSorted((a, b) => (a.driveId < b.driveId ? -1 : 1))) {
    const zone = zones.get(zoneOf(drive)) ?? new Map<string, PlacementDrive[]>()
    zones.set(zoneOf(drive), zone)
    zone.set(drive.nodeId, [...(zone.get(drive.nodeId) ?? []), drive])
  }
  return [...zones.values()].map((zone) => [...zone.values()])
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/**
 * The share of the drives' bytes that groups of this code can fill when at most m shards of each lie in one instance of
 * `domain` and of those below it. With n groups of one byte a shard, a drive takes min(its size, n), a node at most m·n of
 * them, a zone too; the most groups that find k + m places each are searched for by halving.
 */
export function fillable(drives: readonly PlacementDrive[], { k, m }: Code, domain: FailureDomain): number {
  const zones = tree(drives)
  const total = sum(drives.map(weightOf))
  const nodeBound = domain === 'drive' ? Infinity : m
  const zoneBound = domain === 'zone' ? m : Infinity
  const places = (groups: number): number => sum(zones.map((zone) => Math.min(zoneBound * groups, sum(zone.map((node) =>
    Math.min(nodeBound * groups, sum(node.map((drive) => Math.min(weightOf(drive), groups)))))))))
  const fit = (groups: number): boolean => places(groups) >= (k + m) * groups * (1 - 1e-12)
  // places is concave in the groups: what does not fit the first ones never fits
  let low = 0
  let high = total / (k + m)
  if (fit(high)) return 1
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2
    if (fit(middle)) low = middle
    else high = middle
  }
  const filled = low * (k + m) / total
  return filled < 1e-9 ? 0 : filled
}

/** How many shards of one placement group each node and each zone may hold. */
export interface Bounds {
  node: ReadonlyMap<string, number>
  zone: ReadonlyMap<string, number>
}

/**
 * m where the domain is kept. Where it is not, those that are too large for m take their fair share, rounded up, and the
 * others still hold m at most.
 */
export function boundsOf(drives: readonly PlacementDrive[], { k, m }: Code, keeps: FailureDomain): Bounds {
  const total = sum(drives.map(weightOf))
  const bound = (kept: boolean, members: readonly PlacementDrive[]): number =>
    kept ? m : Math.max(m, Math.ceil((k + m) * sum(members.map(weightOf)) / total - 1e-9))
  const zones = tree(drives)
  return {
    node: new Map(zones.flat().map((node) => [node[0]!.nodeId, bound(keeps !== 'drive', node)])),
    zone: new Map(zones.map((zone) => [zoneOf(zone[0]![0]!), bound(keeps === 'zone', zone.flat())])),
  }
}
