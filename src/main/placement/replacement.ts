/** Which drive takes the place of a member that is gone (DESIGN §7). Pure. */
import { zoneOf, type PlacementDrive } from './failure-domains.ts'
import { ranked } from './rendezvous.ts'

/** What a replacement must know of a group. */
export interface ReplaceableGroup {
  id: number
  m: number
  members: readonly string[]
}

/**
 * The drive that shard `index` of the group moves to: of those that hold nothing of the group, one whose node then has at
 * most m shards of it, in a zone that has at most m where there is one; among them the first by weighted rendezvous
 * hashing, so that the groups of a lost drive spread over all others.
 *
 * @param drives those that take new shards now
 * @param known all drives whose place is known, for the shards that stay
 * @returns null when every drive holds a shard of the group already
 */
export function replacementFor(group: ReplaceableGroup, index: number, drives: readonly PlacementDrive[], known: readonly PlacementDrive[]): string | null {
  const members = new Set(group.members)
  const candidates = ranked(group.id, drives.filter((drive) => !members.has(drive.driveId)))
  const staying = new Set(group.members.filter((_, i) => i !== index))
  const kept = known.filter((drive) => staying.has(drive.driveId))
  const beyond = (held: number): number => Math.max(0, held + 1 - group.m)
  const crowding = (drive: PlacementDrive): number => {
    const onNode = kept.filter((other) => other.nodeId === drive.nodeId).length
    const inZone = kept.filter((other) => zoneOf(other) === zoneOf(drive)).length
    return beyond(onNode) * group.members.length + beyond(inZone)
  }
  // where none has room, the one that is least beyond: a missing shard costs more than a crowded node or zone
  let best: PlacementDrive | null = null
  for (const drive of candidates) if (best === null || crowding(drive) < crowding(best)) best = drive
  return best?.driveId ?? null
}
