/**
 * Collects what no row names: shards of writes whose commit never came, or of blobs that were re-encoded, and those of
 * drives that are no member of the group any more (DESIGN §13, rule 2). Each node looks at its own drives; each drive asks
 * for its own old records by primary key; suspects are condemned first, judged after every transaction that could still
 * commit them has ended, and only then removed.
 */
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { Native, ShardRecord } from '../../shared/native.ts'
import type { BlobRow, DatabaseIdentity, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import { eachDrive } from './each-drive.ts'
import type { ExportHorizon } from './metadata-exports.ts'
import type { Move } from './moves.ts'
import { remembered } from './remembered.ts'
import type { RemovalGuard } from './removal-guard.ts'
import { lostDrives } from './shard-removal.ts'

export interface OrphanOptions {
  native: Native
  metadata: ObjectMetadata
  groups: PlacementGroups
  guard: RemovalGuard
  /** Drives of this node that can be read. */
  drives(): DriveId[]
  /** Drives of all nodes that can be read. */
  reachable(): DriveId[]
  /** As of garbage collection: a blob that was re-encoded since an export is where that export says, too. */
  horizon?: (systemId: string) => ExportHorizon | null
  /** Makes a drive the member again that it was; false if that could not be done now. */
  takeBack?: (move: Move, progress: Progress, signal: AbortSignal) => Promise<boolean>
  /** Only records older than this are looked at. It decides when to try, never whether to remove. */
  minAgeMs: number
  /** This process, in the lease. */
  processId: string
}

const PAGE = 1000
/** How long a look at the rows of all groups is good for: in a pass over many records each page would need one. */
const GROUPS_GOOD_MS = 10_000
const IDLE_MS = 60_000
const LEASE_MS = 120_000

interface Pair {
  bucketId: BucketId
  blobId: BlobId
  pgId: PgId
}

const pairKey = (pair: { blobId: string; pgId: number }): string => `${pair.blobId}/${pair.pgId}`

export function orphanCollection(options: OrphanOptions): BackgroundTask {
  const { native, metadata, groups, guard, drives, horizon } = options
  const cursors = new Map<DriveId, string | null>()
  const closed = closedGroups(metadata)
  const takenBack = new Set<string>()
  return {
    name: 'orphan collection',
    idleMs: IDLE_MS,
    async round(progress, signal) {
      const database = await guard.database()
      if (database === null) {
        progress.now = `paused: ${guard.reason}`
        return false
      }
      const exported = horizon?.(database.systemId)
      let more = false
      await eachDrive(drives(), async (driveId) => {
        progress.now = `drive ${driveId}`
        const page = await native.listShards(driveId, cursors.get(driveId) ?? null, PAGE, Date.now() - options.minAgeMs)
        cursors.set(driveId, page.cursor)
        more ||= page.cursor !== null
        count(progress, 'records looked at', page.shards.length)
        // what is not sealed has a writer still, who may be slower than any age; a writer that goes takes it along
        const { suspects, superseded } = await suspectsOf(options, driveId, page.shards.filter((shard) => shard.sealed), closed)
        for (const move of await removeSuperseded(options, driveId, superseded, database, progress)) {
          // once: should the other one then lack something too, they would take it from each other for ever
          const name = `${move.group.id}/${move.index}/${move.to}`
          if (takenBack.has(name) || !(await options.takeBack?.(move, progress, signal))) continue
          takenBack.add(name)
          count(progress, 'members taken back')
        }
        if (suspects.length === 0) return
        const pairs = uniquePairs(suspects)
        await metadata.condemn(pairs)
        if (exported === null) return
        const removable = new Set((await metadata.judgeCondemned(pairs, database, exported?.oldestMs)).map(pairKey))
        const shards: ShardRecord[] = []
        const generations: number[] = []
        for (const [pgId, list] of Map.groupBy(suspects.filter((suspect) => removable.has(pairKey(suspect))), (shard) => shard.pgId)) {
          // as it is now: a drive that was told a higher generation than an old view has refuses all of them
          const generation = (await groups.refresh(pgId as PgId))?.generation ?? (await metadata.deletedGroup(pgId as PgId))
          if (generation === null) {
            // of a database that this one does not know: for people to look at
            count(progress, 'shards of unknown groups', list.length)
            continue
          }
          shards.push(...list)
          generations.push(...list.map(() => generation))
        }
        await native.deleteShards(driveId, shards.map(({ bucketId, blobId, pgId, index }) => ({ bucketId, blobId, pgId, index })), generations)
        count(progress, 'shards removed', shards.length)
      })
      if (!more && (await metadata.lease('condemned rows', options.processId, LEASE_MS))) await forgetDone(options)
      return more
    },
  }
}

/** Records whose blob has no row, or whose row names another group; and those of a group that has another drive at their index. */
async function suspectsOf(
  { metadata }: OrphanOptions, driveId: DriveId, shards: ShardRecord[], closed: ClosedGroups,
): Promise<{ suspects: ShardRecord[]; superseded: ShardRecord[] }> {
  const byBucket = new Map<number, ShardRecord[]>()
  for (const shard of shards) {
    const list = byBucket.get(shard.bucketId)
    if (list === undefined) byBucket.set(shard.bucketId, [shard])
    else list.push(shard)
  }
  const suspects: ShardRecord[] = []
  const superseded: ShardRecord[] = []
  const groups = await closed()
  for (const [bucketId, list] of byBucket) {
    const rows = await metadata.blobs(bucketId as BucketId, list.map((shard) => shard.blobId as BlobId))
    for (const [i, shard] of list.entries()) {
      if (isSuspect(shard, rows[i] ?? null)) suspects.push(shard)
      else if (isFormer(groups.get(shard.pgId as PgId), shard.index, driveId)) superseded.push(shard)
    }
  }
  return { suspects, superseded }
}

type ClosedGroups = () => Promise<ReadonlyMap<PgId, PlacementGroup>>

/**
 * The closed groups by the database's word. Not by what this process knows of them: a node that was paused or cut off while
 * one was moved has not heard of it, and its drive may be the last that has a certain shard.
 */
function closedGroups(metadata: Pick<ObjectMetadata, 'placementGroups'>): ClosedGroups {
  return remembered(GROUPS_GOOD_MS, async () => new Map((await metadata.placementGroups({ states: ['closed'] })).map((group) => [group.id, group])))
}

/** Whether the drive is not, and is not about to be, the member at that index. */
const isFormer = (group: PlacementGroup | undefined, index: number, driveId: DriveId): boolean =>
  group !== undefined && group.members[index] !== driveId && !(group.incoming?.index === index && group.incoming.drive === driveId)

/**
 * The group's row as it is now decides, and the removal carries its generation: a drive that was told a higher one since,
 * because it is to become a member again, refuses. A shard goes only when the member has its own: a move leaves out what
 * it cannot rebuild while fewer than k are left, and then this one may be what makes them k again. Answers the moves that
 * give the drive its place back, where the member lacks what the drive has.
 */
async function removeSuperseded(
  options: OrphanOptions, driveId: DriveId, shards: readonly ShardRecord[], under: DatabaseIdentity, progress: Progress,
): Promise<Move[]> {
  const { native, metadata, groups, reachable } = options
  const back: Move[] = []
  for (const [pgId, list] of Map.groupBy(shards, (shard) => shard.pgId)) {
    const group = await groups.refresh(pgId as PgId)
    if (group === null || group.state !== 'closed') continue
    for (const [index, former] of Map.groupBy(list.filter((shard) => isFormer(group, shard.index, driveId)), (shard) => shard.index)) {
      const member = group.members[index]!
      // what a drive has that is away nobody knows
      if (!reachable().includes(member)) continue
      const names = former.map(({ bucketId, blobId }) => ({ bucketId, blobId, pgId, index }))
      const held = await native.hasShards(member, names)
      const done = names.filter((_, i) => held[i])
      if (done.length < names.length) {
        count(progress, 'shards of former members kept, which the member lacks', names.length - done.length)
        if (group.incoming === null && !group.members.includes(driveId)) back.push({ group, index, from: member, to: driveId })
      }
      if (done.length === 0 || !(await metadata.mayRemove(under))) continue
      await native.deleteShards(driveId, done, done.map(() => group.generation))
      count(progress, 'shards of former members removed', done.length)
    }
  }
  return back
}

const isSuspect = (shard: ShardRecord, row: BlobRow | null): boolean => row === null || row.pgId !== shard.pgId

function uniquePairs(shards: ShardRecord[]): Pair[] {
  const pairs = new Map<string, Pair>()
  for (const { bucketId, blobId, pgId } of shards) {
    pairs.set(pairKey({ blobId, pgId }), { bucketId: bucketId as BucketId, blobId: blobId as BlobId, pgId: pgId as PgId })
  }
  return [...pairs.values()]
}

/**
 * Condemned rows stay until their group is closed (no commit can come any more) and no drive holds a shard of them. A drive
 * that was declared lost never comes back. Of a deleted group nobody knows the members any more: its rows go by their age.
 */
async function forgetDone({ native, metadata, groups, reachable }: OrphanOptions): Promise<void> {
  const here = new Set(reachable())
  const lost = await lostDrives(metadata)
  for (let page = await metadata.condemned(PAGE); page.length > 0; page = await metadata.condemned(PAGE, page.at(-1))) {
    const closed = new Map<PgId, PlacementGroup | null>()
    for (const { pgId } of page) {
      if (closed.has(pgId)) continue
      const group = await groups.refresh(pgId)
      closed.set(pgId, group?.state === 'closed' ? group : null)
    }
    const candidates = page.flatMap((pair) => {
      const group = closed.get(pair.pgId) ?? null
      return group !== null && group.members.every((driveId) => here.has(driveId) || lost.has(driveId)) ? [{ pair, group }] : []
    })
    // each drive is asked once for all that it may hold
    const asked = candidates.flatMap(({ pair, group }) => group.members.flatMap((driveId, index) => (lost.has(driveId) ? [] : [{ pair, driveId, index }])))
    const left = new Set<Pair>()
    await Promise.all([...Map.groupBy(asked, ({ driveId }) => driveId)].map(async ([driveId, list]) => {
      const held = await native.hasShards(driveId, list.map(({ pair: { bucketId, blobId, pgId }, index }) => ({ bucketId, blobId, pgId, index })))
      for (const [i, { pair }] of list.entries()) if (held[i]) left.add(pair)
    }))
    const done = candidates.map(({ pair }) => pair).filter((pair) => !left.has(pair))
    await metadata.forgetCondemned(done)
    if (page.length < PAGE) break
  }
  await metadata.forgetCondemnedOfDeletedGroups()
}
