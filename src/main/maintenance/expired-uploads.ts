/** Aborts multipart uploads that nobody has gone on with for a week, so that their parts do not stay for ever. */
import type { ObjectMetadata } from '../metadata/contract.ts'
import { count, type BackgroundTask } from './background.ts'

const EXPIRY_MS = 7 * 24 * 3600_000
const BATCH = 100
const IDLE_MS = 10 * 60_000

export function uploadExpiry(metadata: Pick<ObjectMetadata, 'expireUploads'>): BackgroundTask {
  return {
    name: 'expired uploads',
    idleMs: IDLE_MS,
    async round(progress) {
      const expired = await metadata.expireUploads(EXPIRY_MS, BATCH)
      count(progress, 'uploads', expired)
      return expired === BATCH
    },
  }
}
