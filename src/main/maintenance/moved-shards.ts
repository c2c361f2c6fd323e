/**
 * After a restore of older metadata: groups whose shards were moved since name drives that may hold nothing any more. What
 * the drives hold tells where the shards are now. For a region without any node that runs.
 */
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { Native, ShardName } from '../../shared/native.ts'
import type { ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'

export interface MovedShardsOptions {
  native: Pick<Native, 'listShards' | 'hasShards'>
  metadata: Pick<ObjectMetadata, 'placementGroup' | 'placementGroups' | 'blobsOfGroup' | 'closePlacementGroup' | 'giveUpMove' | 'replaceMember'>
  /** All that are open. */
  drives: readonly DriveId[]
}

const PAGE = 1000

/** Makes drives members that hold more of what the rows name than the member does; answers how many members were replaced. */
export async function adoptMovedShards(options: MovedShardsOptions): Promise<number> {
  const groups = new Map((await options.metadata.placementGroups()).map((group) => [group.id, group]))
  let adopted = 0
  for (const [pgId, holders] of await strangers(options, groups)) {
    const group = groups.get(pgId)!
    const members = [...group.members]
    const wanted = new Map<number, DriveId>()
    for (const [index, drives] of holders) wanted.set(index, await bestHolder(options, group, index, drives))
    // a drive is a member once at most: one that was a member elsewhere has to go from there first
    for (let before = -1; before !== wanted.size; ) {
      before = wanted.size
      for (const [index, driveId] of wanted) {
        if (members.includes(driveId)) continue
        members[index] = driveId
        wanted.delete(index)
      }
    }
    adopted += await replaceMembers(options, group, members)
  }
  return adopted
}

/** By group and index, the drives that hold shards there although the group's row names another one. */
async function strangers({ native, drives }: MovedShardsOptions, groups: ReadonlyMap<PgId, PlacementGroup>): Promise<Map<PgId, Map<number, Set<DriveId>>>> {
  const found = new Map<PgId, Map<number, Set<DriveId>>>()
  for (const driveId of drives) {
    let cursor: string | null = null
    do {
      const page: Awaited<ReturnType<typeof native.listShards>> = await native.listShards(driveId, cursor, PAGE, Number.MAX_SAFE_INTEGER)
      for (const { pgId, index } of page.shards) {
        const group = groups.get(pgId as PgId)
        if (group === undefined || index >= group.members.length || group.members[index] === driveId) continue
        const byIndex = found.get(group.id) ?? new Map<number, Set<DriveId>>()
        found.set(group.id, byIndex.set(index, (byIndex.get(index) ?? new Set()).add(driveId)))
      }
      cursor = page.cursor
    } while (cursor !== null)
  }
  return found
}

/** The member stays unless another drive holds more; one that is away, unless another drive holds all. */
async function bestHolder({ native, metadata, drives }: MovedShardsOptions, group: PlacementGroup, index: number, others: ReadonlySet<DriveId>): Promise<DriveId> {
  const member = group.members[index]!
  const isHere = drives.includes(member)
  const held = new Map([...(isHere ? [member] : []), ...others].map((driveId) => [driveId, 0]))
  let wanted = 0
  for (let after: { bucketId: BucketId; blobId: BlobId } | null = null; ;) {
    const rows = await metadata.blobsOfGroup(group.id, after, PAGE)
    const names: ShardName[] = rows.filter(({ references }) => references > 0).map(({ bucketId, blobId, pgId }) => ({ bucketId, blobId, pgId, index }))
    wanted += names.length
    for (const [driveId, count] of held) held.set(driveId, count + (await native.hasShards(driveId, names)).filter(Boolean).length)
    if (rows.length < PAGE) break
    after = rows.at(-1)!
  }
  const [best, most] = [...held].reduce((one, other) => (other[1] > one[1] ? other : one))
  return isHere || (wanted > 0 && most === wanted) ? best : member
}

async function replaceMembers({ metadata }: MovedShardsOptions, { id, members: before }: PlacementGroup, members: readonly DriveId[]): Promise<number> {
  const changed = members.flatMap((driveId, index) => (driveId === before[index] ? [] : [index]))
  if (changed.length === 0) return 0
  // moves are of closed groups: this one was closed after the export
  await metadata.closePlacementGroup(id)
  const now = async (): Promise<PlacementGroup> => (await metadata.placementGroup(id))!
  if ((await now()).incoming !== null) await metadata.giveUpMove(id, (await now()).generation)
  for (const index of changed) {
    const { generation } = await now()
    if (!(await metadata.replaceMember(id, index, before[index]!, members[index]!, generation))) throw new Error(`placement group ${id} was changed by somebody else meanwhile`)
  }
  return changed.length
}
