/** All background work of a node, started and stopped together, with one view of its progress. */
import type { Logger } from 'pino'
import type { DriveId, PgId } from '../../shared/ids.ts'
import type { Native } from '../../shared/native.ts'
import type { Directory } from '../directory/contract.ts'
import type { ObjectMetadata } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { type BackgroundTask, BackgroundWork, type TaskStatus } from './background.ts'
import { bucketDeletions } from './bucket-deletions.ts'
import type { ClusterView } from './cluster-view.ts'
import { compaction, scrubbing } from './drive-upkeep.ts'
import { uploadExpiry } from './expired-uploads.ts'
import { garbageCollection } from './gc.ts'
import { groupUpkeep } from './groups-upkeep.ts'
import { inventory } from './inventory.ts'
import type { MetadataExports } from './metadata-exports.ts'
import { type MoveOptions, moveShards, shardMoves } from './moves.ts'
import { oneAtATime } from './one-at-a-time.ts'
import { orphanCollection } from './orphans.ts'
import { reencoding } from './reencoding.ts'
import { RemovalGuard } from './removal-guard.ts'
import { DamageReports, shardRepair } from './repair.ts'
import { roomWarnings } from './room.ts'
import { isMine } from './shares.ts'

/** The collectors of all drives have looked at everything within this time, mostly. */
const ORPHANS_FOUND_MS = 300_000

export interface MaintenanceOptions {
  native: Native
  metadata: ObjectMetadata
  directory: Directory
  groups: PlacementGroups
  logger: Logger
  cluster: ClusterView
  inUse(): Promise<ReadonlySet<PgId>>
  /** Renews this node's lease now: background work waits for what nodes publish with it. */
  publishNow(): void
  /** A placement group was sealed: caches of the open ones, in any thread, are to be dropped. */
  groupSealed(): void
  /** The row of a group was changed by this node: others are told. */
  groupChanged(pgId: PgId): void
  /** Exports of the metadata on the drives; null where there are none. */
  exports: MetadataExports | null
  periods: MaintenancePeriods
}

export interface MaintenancePeriods {
  /** Every live byte is read and verified, and every shard that a row wants is asked for, once in this time. */
  scrubMs: number
  /** Records younger than this are not suspected to be orphans. */
  orphanAgeMs: number
  /** How long a node must have been gone before its data is rebuilt elsewhere. */
  repairDelayMs: number
}

export interface Maintenance {
  status(): { tasks: readonly TaskStatus[]; damage: Record<string, number>; removalPaused: string }
  /** What keeps data from being protected better, a line each for people. */
  warnings(): string[]
  /** A drive came online: what waits for it starts now. */
  driveOnline(): void
  scrubNow(): void
  /** Everything that looks at intervals looks now. */
  runNow(): void
  confirmRemoval(): Promise<void>
  stop(): Promise<void>
}

export function startMaintenance(options: MaintenanceOptions): Maintenance {
  const { native, metadata, directory, groups, logger, cluster, inUse, publishNow, groupSealed, groupChanged, exports, periods } = options
  const horizon = exports === null ? undefined : exports.horizon
  const drives = (): DriveId[] => cluster.local()
  const reachable = (): DriveId[] => cluster.reachable()
  const mine = (pgId: PgId): boolean => isMine(cluster, pgId)
  const delayMs = periods.repairDelayMs
  const alone = (task: BackgroundTask, able?: () => boolean): BackgroundTask => oneAtATime(task, { metadata, holder: cluster.processId, able })
  const work = new BackgroundWork(logger)
  const guard = new RemovalGuard({ native, metadata, drives })
  const damage = new DamageReports(metadata, logger)
  native.setDamageListener((one) => damage.add(one))

  const scrub = scrubbing({ native, drives, periodMs: periods.scrubMs })
  const missed = inventory({ native, metadata, drives, periodMs: periods.scrubMs, report: (one) => damage.add(one) })
  const repair = shardRepair({ native, metadata, groups, logger, drives: reachable, mine })
  const reencode = reencoding({ native, metadata, groups, cluster, logger, delayMs })
  const moving: MoveOptions = {
    native, metadata, groups, cluster, logger, delayMs, moved: groupChanged, noRoom: (pgId) => reencode.noRoom.has(pgId),
  }
  const moves = shardMoves(moving)
  const tasks = [
    groupUpkeep({
      metadata, groups, cluster, delayMs: periods.repairDelayMs, inUse, groupSealed, changed: groupChanged,
      database: () => guard.database(), emptyForMs: periods.orphanAgeMs + ORPHANS_FOUND_MS,
    }),
    repair,
    moves,
    reencode,
    alone(garbageCollection({ native, metadata, groups, guard, logger, drives: reachable, horizon }), () => drives().length > 0),
    orphanCollection({
      native, metadata, groups, guard, drives, reachable, minAgeMs: periods.orphanAgeMs, processId: cluster.processId, horizon,
      takeBack: async (move, progress, signal) => moveShards(moving, move, await metadata.identity(), progress, signal),
    }),
    compaction({ native, drives }),
    scrub,
    missed,
    alone(uploadExpiry(metadata)),
    alone(bucketDeletions(metadata, directory)),
    ...(exports === null ? [] : [exports.task]),
  ]
  for (const task of tasks) work.start(task)

  return {
    status: () => ({ tasks: work.status, damage: { ...damage.counters }, removalPaused: guard.reason }),
    warnings: () => roomWarnings(reencode.noRoom),
    driveOnline() {
      repair.retryAll()
      work.wake(repair.name)
      work.wake('placement groups')
      work.wake('re-encoding')
    },
    scrubNow() {
      for (const task of [scrub, missed]) {
        task.hurry()
        work.wake(task.name)
      }
    },
    runNow() {
      publishNow()
      for (const task of tasks) work.wake(task.name)
    },
    confirmRemoval: () => guard.confirm(),
    async stop() {
      await work.stop()
      await damage.stop()
      // another node goes on at once; with the database away they run out by themselves
      if (metadata.health().state === 'ok') await metadata.releaseLeases(cluster.processId)
    },
  }
}
