/** Ends bucket deletions that a crash cut between their steps (DESIGN §9: `deleting` is set, the global row may remain). */
import type { Directory } from '../directory/contract.ts'
import type { ObjectMetadata } from '../metadata/contract.ts'
import { count, type BackgroundTask } from './background.ts'

const IDLE_MS = 60_000

export function bucketDeletions(
  metadata: Pick<ObjectMetadata, 'deletingBuckets' | 'finishDeleteBucket'>, directory: Pick<Directory, 'removeBucket'>,
): BackgroundTask {
  return {
    name: 'bucket deletions',
    idleMs: IDLE_MS,
    async round(progress) {
      for (const bucketId of await metadata.deletingBuckets()) {
        await directory.removeBucket(bucketId)
        await metadata.finishDeleteBucket(bucketId)
        count(progress, 'buckets')
      }
      return false
    },
  }
}
