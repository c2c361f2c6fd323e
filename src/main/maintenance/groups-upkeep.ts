/**
 * The life of placement groups (DESIGN §7): seals those that no slot wants any more or that are full, closes sealed ones
 * without an upload.
 */
import type { PgId } from '../../shared/ids.ts'
import { PG_SEAL_BYTES } from '../../shared/limits.ts'
import type { ObjectMetadata } from '../metadata/contract.ts'
import { memberKey, type PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask } from './background.ts'

export interface UpkeepOptions {
  metadata: ObjectMetadata
  groups: PlacementGroups
  /** Groups with an upload in any thread of this process. */
  inUse(): Promise<ReadonlySet<PgId>>
  /** Called before `inUse` when groups are sealed: a thread that then answers takes no new uploads into them. */
  groupSealed(): void
}

const UPKEEP_MS = 5000

export function groupUpkeep({ metadata, groups, inUse, groupSealed }: UpkeepOptions): BackgroundTask {
  return {
    name: 'placement groups',
    idleMs: UPKEEP_MS,
    async round(progress) {
      const wanted = groups.wanted()
      for (const group of await metadata.placementGroups({ states: ['open'] })) {
        // while no drive takes shards nothing better can be opened
        const unwanted = wanted.size > 0 && !wanted.has(memberKey(group.k, group.m, group.members))
        if (!unwanted && group.bytes < PG_SEAL_BYTES) continue
        await metadata.sealPlacementGroup(group.id)
        count(progress, 'sealed')
      }
      // also those that a writer or re-encoding has retired
      const sealed = await metadata.placementGroups({ states: ['sealed'] })
      if (sealed.length === 0) return false
      groups.resetSlots()
      groupSealed()
      const busy = await inUse()
      for (const group of sealed) {
        if (busy.has(group.id)) continue
        await metadata.closePlacementGroup(group.id)
        count(progress, 'closed')
      }
      return false
    },
  }
}
