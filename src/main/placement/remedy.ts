/**
 * What is to be done for a placement group that protects less than it could: because the drives allow a wider code, because
 * members of it are gone for good, or because too many of them are on one node or in one zone by now (DESIGN §7). Pure.
 *
 * The directions cannot alternate. A group is widened into the code of now only where that code protects more; otherwise it
 * is re-encoded only where new groups outlive more losses in one domain and fewer in none. What is written then has no dead
 * member, the very code that would be widened into, and outlives what each new group does.
 */
import { isNarrower, type ErasureCode } from './erasure-code.ts'
import type { PlacementDrive } from './failure-domains.ts'
import { lossesSurvived, survivesMore, type LossesSurvived } from './losses-survived.ts'
import { replacementFor } from './replacement.ts'

export interface GroupInNeed {
  id: number
  k: number
  m: number
  members: readonly string[]
}

/** What the decision rests on: the drives as they are at one moment. */
export interface DriveSituation {
  /** Drives that take new shards. */
  placeable: readonly PlacementDrive[]
  /** All drives whose place is known, those that are away among them, by id. */
  known: ReadonlyMap<string, PlacementDrive>
  /** Drives that will not come back: of nodes that are gone for good. */
  gone: ReadonlySet<string>
  /** Drives that an operator declared lost. */
  lost: ReadonlySet<string>
  /** The code of new groups; null when none can be opened. */
  code: ErasureCode | null
  /** The code once those are back that are away and not gone for good: what only lasts for a reboot is no reason to re-encode. */
  settledCode: ErasureCode | null
  /** Whether no drive is away that may come back. */
  whole: boolean
  /** What each new group outlives. */
  fresh: LossesSurvived | null
}

export type Remedy =
  | { kind: 'none' }
  /** Into the group that its slot has now. */
  | { kind: 're-encode' }
  /** Shard `index` to another drive. */
  | { kind: 'move'; index: number; to: string }
  /** Re-encoding would help, and drives are away that may come back. */
  | { kind: 'wait' }

/**
 * A move costs one shard, re-encoding all of them: moves come first where they lead to as much. Where no drive is left for
 * the shard, or only one that crowds a node or zone, re-encoding leads to more.
 *
 * @param noRoom re-encoding was tried and found no room: a move needs less of it
 */
export function remedyFor(group: GroupInNeed, situation: DriveSituation, noRoom = false): Remedy {
  const { code, settledCode, fresh, gone, lost } = situation
  const dead = group.members.some((driveId) => gone.has(driveId) || lost.has(driveId))
  if (!dead) {
    const wider = code !== null && settledCode !== null && isNarrower(group, code) && isNarrower(group, settledCode)
    return wider || misplaced(group, situation) ? { kind: 're-encode' } : { kind: 'none' }
  }
  const { first, survived } = afterMoves(group, situation)
  // fewer than k are left: nothing can be read until one of them comes back after all
  const readable = lossesSurvived(group.k, placesOf(group.members, situation)) !== null
  const better = readable && fresh !== null && survived !== null && survivesMore(fresh, survived)
  const lasting = code !== null && settledCode !== null && !isNarrower(code, settledCode)
  if (better && lasting && !noRoom) return { kind: 're-encode' }
  if (first !== null) return { kind: 'move', ...first }
  return better && !lasting ? { kind: 'wait' } : { kind: 'none' }
}

/**
 * Whether new groups outlive more, although none of its members is gone: a node was given another zone, or what was one host
 * has become several.
 */
function misplaced(group: GroupInNeed, situation: DriveSituation): boolean {
  const { fresh, whole } = situation
  const survived = lossesSurvived(group.k, placesOf(group.members, situation))
  return whole && fresh !== null && survived !== null && survivesMore(fresh, survived)
}

/** Where the shards are that are not gone. */
function placesOf(members: readonly string[], { known, gone, lost }: DriveSituation): PlacementDrive[] {
  return members.flatMap((driveId) => (gone.has(driveId) || lost.has(driveId) ? [] : known.get(driveId) ?? []))
}

/** The first move that a group of dead nodes' drives wants, and what the group outlives when all that are possible are done. */
function afterMoves(group: GroupInNeed, situation: DriveSituation): { first: { index: number; to: string } | null; survived: LossesSurvived | null } {
  const members = [...group.members]
  const known = [...situation.known.values()]
  let first: { index: number; to: string } | null = null
  for (const [index, driveId] of group.members.entries()) {
    if (!situation.gone.has(driveId)) continue
    const to = replacementFor({ ...group, members }, index, situation.placeable, known)
    if (to === null) break
    members[index] = to
    first ??= { index, to }
  }
  return { first, survived: lossesSurvived(group.k, placesOf(members, situation)) }
}
