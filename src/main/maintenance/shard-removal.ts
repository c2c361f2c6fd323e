/** Gathers shards to remove by drive, so that each drive gets one call (and one flush) for many blobs. */
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { Native, ShardName } from '../../shared/native.ts'
import type { ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'

export class ShardRemoval {
  readonly #native: Native
  readonly #drives: ReadonlySet<DriveId>
  readonly #byDrive = new Map<DriveId, { shards: ShardName[]; generations: number[] }>()
  /** Blobs of which a member could not be asked. */
  readonly #failed = new Set<BlobId>()

  constructor(native: Native, drives: readonly DriveId[]) {
    this.#native = native
    this.#drives = new Set(drives)
  }

  /** All shards of a blob in its group. A member that is away makes the blob wait; one declared lost does not hold it. */
  add(item: { bucketId: BucketId; blobId: BlobId; pgId: PgId }, group: PlacementGroup, lost: ReadonlySet<DriveId>): void {
    group.members.forEach((driveId, index) => {
      if (lost.has(driveId)) return
      if (this.#drives.has(driveId)) this.addShard(driveId, { ...item, index }, group.generation)
      else this.#failed.add(item.blobId)
    })
    // a drive that a shard is being moved to counts as a member; what it does not have yet it will not get any more
    const { incoming } = group
    if (incoming !== null && this.#drives.has(incoming.drive)) this.addShard(incoming.drive, { ...item, index: incoming.index }, group.generation)
  }

  addShard(driveId: DriveId, shard: ShardName, generation: number): void {
    let list = this.#byDrive.get(driveId)
    if (list === undefined) this.#byDrive.set(driveId, (list = { shards: [], generations: [] }))
    const { bucketId, blobId, pgId, index } = shard
    list.shards.push({ bucketId, blobId, pgId, index })
    list.generations.push(generation)
  }

  /** Removes durably; answers the blobs of which something may be left. Errors of a drive keep its blobs for later. */
  async run(): Promise<ReadonlySet<BlobId>> {
    await Promise.all([...this.#byDrive].map(async ([driveId, { shards, generations }]) => {
      try {
        await this.#native.deleteShards(driveId, shards, generations)
      } catch (error) {
        for (const shard of shards) this.#failed.add(shard.blobId as BlobId)
        this.errors.push(error)
      }
    }))
    return this.#failed
  }

  /** What drives answered, for the log. */
  readonly errors: unknown[] = []
}

/** A blob of this id is never made: naming it removes nothing. */
const NO_BLOB = { bucketId: 0 as BucketId, blobId: '0'.repeat(32) as BlobId }

/** Tells a drive the group's generation, durably: once this has resolved, it refuses requests that rest on an older one. */
export function tellGeneration(native: Pick<Native, 'deleteShards'>, driveId: DriveId, { id, generation }: Pick<PlacementGroup, 'id' | 'generation'>): Promise<void> {
  return native.deleteShards(driveId, [{ ...NO_BLOB, pgId: id, index: 0 }], [generation])
}

/** Drives that an operator declared gone for good: nothing waits for them. */
export async function lostDrives(metadata: Pick<ObjectMetadata, 'drives'>): Promise<ReadonlySet<DriveId>> {
  const drives = await metadata.drives()
  return new Set(drives.filter((drive) => drive.state === 'lost').map((drive) => drive.driveId))
}
