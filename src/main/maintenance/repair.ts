/**
 * Rebuilds what the repair queue names: shards that a write left out, and those that a read or scrubbing found damaged.
 * An entry is removed by its id, so a shard that is reported again during its repair is not forgotten (DESIGN §13, rule 7).
 */
import type { Logger } from 'pino'
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { Damage, Native } from '../../shared/native.ts'
import type { BlobRow, ObjectMetadata, PlacementGroup, RepairEntry } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import { Backoff } from './backoff.ts'

export interface RepairOptions {
  native: Native
  metadata: ObjectMetadata
  groups: PlacementGroups
  logger: Logger
  /** Drives that can be written now, on all nodes. */
  drives(): DriveId[]
  /** Whether the work in a group is this node's share. */
  mine(pgId: PgId): boolean
  /** Entries of one round. @default 200 */
  batch?: number
}

const BATCH = 200
const CONCURRENCY = 4
const IDLE_MS = 2000
/** Nothing is wrong with a shard that is there after all. */
const MISSING: readonly RepairEntry['reason'][] = ['left-out', 'drive-lost']

export const NO_KEY = Buffer.alloc(0)

/** The stored bytes of a blob, for work that needs no key. */
export const storedBytes = (row: BlobRow) => ({
  bucketId: row.bucketId, blobId: row.blobId, pgId: row.pgId, size: row.size, stripeBytes: row.stripeBytes,
  encrypted: row.encrypted, dataKey: NO_KEY,
})

export interface ShardRepair extends BackgroundTask {
  /** A drive came back: what failed may be possible now. */
  retryAll(): void
}

export function shardRepair(options: RepairOptions): ShardRepair {
  const { batch = BATCH } = options
  let after = 0
  const backoff = new Backoff<number>()
  return {
    name: 'repair',
    retryAll: () => backoff.reset(),
    idleMs: IDLE_MS,
    async round(progress, signal) {
      const entries = await options.metadata.repairs(batch, after)
      if (entries.length === 0) {
        after = 0
        return false
      }
      progress.now = `${await options.metadata.repairCount()} shards wait, ${backoff.size} of them could not be rebuilt yet`
      // entries whose drive is away stay; the next rounds look past them
      after = entries.length === batch ? entries.at(-1)!.entryId : 0
      const online = new Set(options.drives())
      const queue = entries.filter((entry) => options.mine(entry.pgId))
      const known = await groupsNow(options.groups, queue)
      const worker = async (): Promise<void> => {
        for (let entry = queue.shift(); entry !== undefined && !signal.aborted; entry = queue.shift()) {
          if (backoff.isDue(entry.entryId, Date.now())) await repairOne(options, entry, known.get(entry.pgId) ?? null, online, progress, backoff)
        }
      }
      await Promise.all(Array.from({ length: CONCURRENCY }, worker))
      return entries.length === batch
    },
  }
}

/**
 * The groups of the entries, read after them: a shard that was reported lost during a move is judged by the group as that
 * move found or left it, and not by an older view, whose member may be back and have the shard.
 */
async function groupsNow(groups: RepairOptions['groups'], entries: readonly RepairEntry[]): Promise<ReadonlyMap<PgId, PlacementGroup | null>> {
  const ids = [...new Set(entries.map(({ pgId }) => pgId))]
  return new Map(await Promise.all(ids.map(async (id) => [id, await groups.refresh(id)] as const)))
}

async function repairOne(
  options: RepairOptions, entry: RepairEntry, group: PlacementGroup | null, online: ReadonlySet<DriveId>, progress: Progress, backoff: Backoff<number>,
): Promise<void> {
  const { native, metadata, logger } = options
  const row = await metadata.blob(entry.bucketId, entry.blobId)
  if (row === null || row.references === 0 || row.pgId !== entry.pgId) {
    // Deleted, or re-encoded elsewhere since: nothing to repair here. Without references the collector may be at its shards,
    // and each one that it has removed would count as damage.
    await metadata.forgetRepair([entry.entryId])
    backoff.done(entry.entryId)
    return
  }
  const driveId = group?.members[entry.index]
  if (driveId === undefined || !online.has(driveId)) return
  // who is the member there is about to change: the entry is for the next one, or for this one if the move is given up
  if (group!.incoming?.index === entry.index) return
  try {
    const shard = { bucketId: entry.bucketId, blobId: entry.blobId, pgId: entry.pgId, index: entry.index }
    if (!MISSING.includes(entry.reason) || !(await native.hasShards(driveId, [shard]))[0]) {
      await native.rebuildShard(storedBytes(row), entry.index)
      count(progress, 'shards rebuilt')
    }
    await metadata.forgetRepair([entry.entryId])
    backoff.done(entry.entryId)
  } catch (error) {
    count(progress, 'failures')
    const times = backoff.failed(entry.entryId, Date.now())
    // With `Moved` as with anything else: the next round reads the group's row anew. Told once; the progress shows how many wait
    const level = times === 1 ? 'warn' : 'debug'
    logger[level]({ err: error, blob: entry.blobId, pg: entry.pgId, index: entry.index, times }, 'a shard could not be rebuilt, trying again later')
  }
}

/** How long one and the same damage is not reported again. */
const REPORT_AGAIN_MS = 10_000
const FLUSH_MS = 100

/**
 * Takes what reads and scrubbing find damaged to the repair queue, each shard once in a while. A shard that is missing where
 * an old view looked for it is no damage: the hint in an object's row goes on naming the group that its blob was in before
 * it was re-encoded, and what was deleted is removed while somebody may still ask. So the blob's row is asked first.
 */
export class DamageReports {
  readonly #metadata: Pick<ObjectMetadata, 'reportDamage' | 'blobs'>
  readonly #logger: Logger
  readonly #recent = new Map<string, number>()
  #pending: Damage[] = []
  #timer: NodeJS.Timeout | null = null
  #stopped = false
  /** By reason, since the start. */
  readonly counters: Record<Damage['reason'], number> = { crc: 0, missing: 0, io: 0 }

  constructor(metadata: Pick<ObjectMetadata, 'reportDamage' | 'blobs'>, logger: Logger) {
    this.#metadata = metadata
    this.#logger = logger
  }

  add(damage: Damage): void {
    const key = `${damage.pgId}/${damage.blobId}/${damage.index}`
    const now = Date.now()
    for (const [old, at] of this.#recent) {
      if (now - at < REPORT_AGAIN_MS) break
      this.#recent.delete(old)
    }
    if (this.#recent.has(key)) return
    this.#recent.set(key, now)
    if (damage.reason !== 'missing') this.#note(damage)
    this.#pending.push(damage)
    if (!this.#stopped) this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS)
  }

  /** Writes what waits, if the database is there, and tries no more. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.flush()
  }

  /** Writes what waits to the queue; keeps it for the next time when the database is away. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const batch = this.#pending
    if (batch.length === 0) return
    this.#pending = []
    try {
      const missing = await this.#missed(batch.filter(({ reason }) => reason === 'missing'))
      const damaged = [...batch.filter(({ reason }) => reason !== 'missing'), ...missing]
      if (damaged.length > 0) {
        await this.#metadata.reportDamage(damaged.map(({ bucketId, blobId, pgId, index, reason }) => ({
          bucketId: bucketId as BucketId, blobId: blobId as BlobId, pgId: pgId as PgId, index, reason,
        })))
      }
      for (const one of missing) this.#note(one)
    } catch (error) {
      this.#logger.warn({ err: error }, 'damaged shards could not be queued for repair, trying again')
      this.#pending.unshift(...batch)
      if (!this.#stopped) this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS * 20)
    }
  }

  /** Those that should be where they were looked for. */
  async #missed(missing: readonly Damage[]): Promise<Damage[]> {
    const missed: Damage[] = []
    for (const [bucketId, list] of Map.groupBy(missing, (one) => one.bucketId)) {
      const rows = await this.#metadata.blobs(bucketId as BucketId, list.map((one) => one.blobId as BlobId))
      missed.push(...list.filter((one, i) => rows[i] != null && rows[i].references > 0 && rows[i].pgId === one.pgId))
    }
    return missed
  }

  #note(damage: Damage): void {
    this.counters[damage.reason]++
    this.#logger.warn({ ...damage }, 'damaged shard')
  }
}
