/**
 * Whether drives have room for what background work writes anew: re-encoding makes copies, and the old ones go some time
 * later only. What is left must be enough for new writes.
 */
import type { DriveId, PgId } from '../../shared/ids.ts'
import { reserveBytes } from '../drives/local-drives.ts'
import type { ClusterView } from './cluster-view.ts'

/** Of a drive, above the reserve that no shard may touch. */
const KEPT_FREE_SHARE = 0.02

export class Room {
  readonly #cluster: Pick<ClusterView, 'placeable' | 'freeBytes'>
  /** What was written since a drive's free bytes were announced. */
  readonly #written = new Map<DriveId, { announced: number; bytes: number }>()

  constructor(cluster: Pick<ClusterView, 'placeable' | 'freeBytes'>) {
    this.#cluster = cluster
  }

  /** The drive among `members` that has no room for a shard of that many bytes; null where all have, and then it is counted as taken. */
  take(members: readonly DriveId[], shardBytes: number): DriveId | null {
    const full = members.find((driveId) => this.#free(driveId) - shardBytes < this.#kept(driveId))
    if (full !== undefined) return full
    for (const driveId of members) this.#written.get(driveId)!.bytes += shardBytes
    return null
  }

  #free(driveId: DriveId): number {
    const announced = this.#cluster.freeBytes(driveId)
    let written = this.#written.get(driveId)
    if (written?.announced !== announced) this.#written.set(driveId, (written = { announced, bytes: 0 }))
    return announced - written.bytes
  }

  #kept(driveId: DriveId): number {
    const totalBytes = this.#cluster.placeable().find((drive) => drive.driveId === driveId)?.totalBytes ?? 0
    return reserveBytes(totalBytes) + totalBytes * KEPT_FREE_SHARE
  }
}

/** @param noRoom groups, and a drive that had none for what lies in them */
export function roomWarnings(noRoom: ReadonlyMap<PgId, DriveId>): string[] {
  if (noRoom.size === 0) return []
  const drives = [...new Set(noRoom.values())].sort()
  return [`what lies in ${noRoom.size === 1 ? '1 placement group' : `${noRoom.size} placement groups`} would be protected better if it were re-encoded, `
    + `and there is no room for that on ${drives.length === 1 ? 'drive' : 'drives'} ${drives.join(', ')}: free some space, or add drives`]
}
