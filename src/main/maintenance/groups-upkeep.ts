/**
 * The life of placement groups (DESIGN §7): seals those that no slot wants any more or that are full, closes sealed ones
 * without an upload. One node seals and closes at a time; every node forgets sealed ones when it looks up slots.
 */
import type { PgId } from '../../shared/ids.ts'
import { PG_SEAL_BYTES } from '../../shared/limits.ts'
import type { ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import { memberKey, type PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'

export interface UpkeepOptions {
  metadata: Pick<ObjectMetadata, 'placementGroups' | 'sealPlacementGroup' | 'closePlacementGroup' | 'closableGroups' | 'lease'>
  groups: PlacementGroups
  /** This process, in the lease. */
  processId: string
  /** Groups with an upload in any thread of this process. */
  inUse(): Promise<ReadonlySet<PgId>>
  /** Called before `inUse` when groups were sealed: a thread that then answers takes no new uploads into them. */
  groupSealed(): void
  /** The group's row was changed by this node: others are told. */
  changed(pgId: PgId): void
}

const UPKEEP_MS = 5000
const LEASE_MS = 20_000

export function groupUpkeep(options: UpkeepOptions): BackgroundTask {
  const { metadata, groups, processId } = options
  /** Sealed groups that this process has heard of: their slots were looked up anew. */
  let heard = new Set<PgId>()
  return {
    name: 'placement groups',
    idleMs: UPKEEP_MS,
    async round(progress) {
      const leads = await metadata.lease('placement groups', processId, LEASE_MS)
      if (leads) await seal(options, progress)
      // also those that a writer, re-encoding or another node has sealed
      const sealed = await metadata.placementGroups({ states: ['sealed'] })
      if (sealed.some((group) => !heard.has(group.id))) {
        groups.resetSlots()
        options.groupSealed()
      }
      heard = new Set(sealed.map((group) => group.id))
      if (leads && sealed.length > 0) await close(options, sealed, progress)
      return false
    },
  }
}

async function seal({ metadata, groups, changed }: UpkeepOptions, progress: Progress): Promise<void> {
  const wanted = groups.wanted()
  for (const group of await metadata.placementGroups({ states: ['open'] })) {
    // while no drive takes shards nothing better can be opened
    const unwanted = wanted.size > 0 && !wanted.has(memberKey(group.k, group.m, group.members))
    if (!unwanted && group.bytes < PG_SEAL_BYTES) continue
    await metadata.sealPlacementGroup(group.id)
    changed(group.id)
    count(progress, 'sealed')
  }
}

async function close({ metadata, inUse, changed }: UpkeepOptions, sealed: readonly PlacementGroup[], progress: Progress): Promise<void> {
  const busy = await inUse()
  const unused = new Set(await metadata.closableGroups())
  for (const { id } of sealed) {
    if (busy.has(id) || !unused.has(id)) continue
    await metadata.closePlacementGroup(id)
    changed(id)
    count(progress, 'closed')
  }
}
