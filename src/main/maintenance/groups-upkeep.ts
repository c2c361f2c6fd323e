/**
 * The life of placement groups (DESIGN §7): seals those that no slot wants any more or that are full, closes sealed ones
 * without an upload, deletes closed ones that hold nothing. One node does that at a time; every node forgets sealed ones when it looks up slots.
 *
 * A group is wanted if it is what a slot of any node's view wants, or would be if nobody were away for a while only. So a
 * member that flaps costs no group, the one that it is in is used again when it is back, and the halves of a partition
 * that both reach Postgres leave each other's groups alone.
 */
import type { PgId } from '../../shared/ids.ts'
import { PG_SEAL_BYTES } from '../../shared/limits.ts'
import type { ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import { groupDigest, type PlacementGroups } from '../placement/groups.ts'
import { lookAtDrives, StandingDrives, type AbsenceOptions } from './absent-drives.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import { EmptyGroups, type EmptyGroupOptions } from './empty-groups.ts'

export interface UpkeepOptions extends AbsenceOptions, EmptyGroupOptions {
  metadata: EmptyGroupOptions['metadata'] & Pick<ObjectMetadata,
    'placementGroups' | 'sealPlacementGroup' | 'closePlacementGroup' | 'closableGroups' | 'lease' | 'nodes' | 'drives' | 'wantedGroups'>
  groups: PlacementGroups
  /** Groups with an upload in any thread of this process. */
  inUse(): Promise<ReadonlySet<PgId>>
  /** Called before `inUse` when groups were sealed: a thread that then answers takes no new uploads into them. */
  groupSealed(): void
  /** The group's row was changed or deleted by this node: others are told. */
  changed(pgId: PgId): void
}

const UPKEEP_MS = 5000
const LEASE_MS = 20_000

export function groupUpkeep(options: UpkeepOptions): BackgroundTask {
  const { metadata, groups, cluster } = options
  const standing = new StandingDrives(options)
  const empty = new EmptyGroups(options)
  /** Sealed groups that this process has heard of: their slots were looked up anew. */
  let heard = new Set<PgId>()
  return {
    name: 'placement groups',
    idleMs: UPKEEP_MS,
    async round(progress) {
      // a node without drives deletes nothing (removal-guard.ts), and would keep the others from it
      const leads = cluster.local().length > 0 && (await metadata.lease('placement groups', cluster.processId, LEASE_MS))
      standing.note()
      if (leads) await seal(options, standing, progress)
      // also those that a writer, re-encoding or another node has sealed
      const sealed = await metadata.placementGroups({ states: ['sealed'] })
      if (sealed.some((group) => !heard.has(group.id))) {
        groups.resetSlots()
        options.groupSealed()
      }
      heard = new Set(sealed.map((group) => group.id))
      if (leads && sealed.length > 0) await close(options, sealed, empty, progress)
      if (leads) await empty.round(progress)
      return false
    },
  }
}

async function seal(options: UpkeepOptions, standing: StandingDrives, progress: Progress): Promise<void> {
  const { metadata, changed } = options
  const unwanted = await unwantedGroups(options, standing)
  // read after what is wanted: a group that was opened since is younger than what the nodes said
  for (const group of await metadata.placementGroups({ states: ['open'] })) {
    if (group.bytes < PG_SEAL_BYTES && !unwanted(group)) continue
    await metadata.sealPlacementGroup(group.id)
    changed(group.id)
    count(progress, 'sealed')
  }
}

async function unwantedGroups(options: UpkeepOptions, standing: StandingDrives): Promise<(group: PlacementGroup) => boolean> {
  const { metadata, groups } = options
  const here = groups.wanted()
  // while no drive takes shards nothing better can be opened
  if (here.size === 0) return () => false
  const look = await lookAtDrives(options)
  const ifWhole = groups.wantedOver(standing.of(look))
  const reports = await metadata.wantedGroups()
  return (group) => {
    const digest = groupDigest(group)
    if (here.has(digest)) return false
    if (group.members.some((driveId) => look.gone.has(driveId) || look.lost.has(driveId))) return true
    // of what was opened after a node's report that node has said nothing yet
    return !ifWhole.has(digest) && !reports.some(({ reportedMs, wanted }) => reportedMs <= group.openedMs || wanted.has(digest))
  }
}

async function close({ metadata, inUse, changed }: UpkeepOptions, sealed: readonly PlacementGroup[], empty: EmptyGroups, progress: Progress): Promise<void> {
  const busy = await inUse()
  const unused = new Set(await metadata.closableGroups())
  for (const { id } of sealed) {
    if (busy.has(id) || !unused.has(id)) continue
    await metadata.closePlacementGroup(id)
    empty.closed(id)
    changed(id)
    count(progress, 'closed')
  }
}
