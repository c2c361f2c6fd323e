/** How many losses the shards of a placement group outlive, whichever they are: of drives, of nodes, of zones. Pure. */
import { zoneOf, type PlacementDrive } from './failure-domains.ts'

/** The worst case of each domain. */
export interface LossesSurvived {
  drives: number
  nodes: number
  zones: number
}

/**
 * @param k how many shards a read needs
 * @param there where the shards lie that are left
 * @returns null when fewer than k are left
 */
export function lossesSurvived(k: number, there: readonly PlacementDrive[]): LossesSurvived | null {
  if (there.length < k) return null
  return {
    drives: there.length - k,
    nodes: instancesSpared(k, there, (drive) => drive.nodeId),
    zones: instancesSpared(k, there, zoneOf),
  }
}

/** How many instances of a domain may go, those with the most shards first. */
function instancesSpared(k: number, there: readonly PlacementDrive[], instanceOf: (drive: PlacementDrive) => string): number {
  const held = new Map<string, number>()
  for (const drive of there) held.set(instanceOf(drive), (held.get(instanceOf(drive)) ?? 0) + 1)
  let left = there.length
  let spared = 0
  for (const shards of [...held.values()].sort((a, b) => b - a)) {
    left -= shards
    if (left < k) break
    spared++
  }
  return spared
}

/** Of several groups the worst in each domain; null when there is none, or one that cannot be read. */
export function leastSurvived(all: readonly (LossesSurvived | null)[]): LossesSurvived | null {
  let least: LossesSurvived | null = null
  for (const one of all) {
    if (one === null) return null
    least = least === null ? one : { drives: Math.min(least.drives, one.drives), nodes: Math.min(least.nodes, one.nodes), zones: Math.min(least.zones, one.zones) }
  }
  return least
}

/** More losses of one domain, and fewer of none: what is better so is never worse the next moment under the same view. */
export function survivesMore(one: LossesSurvived, other: LossesSurvived): boolean {
  const atLeast = one.drives >= other.drives && one.nodes >= other.nodes && one.zones >= other.zones
  return atLeast && (one.drives > other.drives || one.nodes > other.nodes || one.zones > other.zones)
}
