/**
 * The commit of a body whose shards are durable. Its group may have been closed meanwhile, or the pair condemned by an
 * orphan collector that found no row of it for too long (DESIGN §13, rules 2 and 4). Such a refusal is an outcome and no
 * doubt: nothing of that commit can come any more. The client's bytes are there, so they are written into another group
 * and committed anew; what stays in the old one names a group that the blob's row does not, and is collected as that. If
 * the collector was quicker, the shards cannot be read, and the client is told.
 */
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId } from '../../shared/ids.ts'
import { nativeError } from '../../shared/native.ts'
import type { BodyWriterOptions, WrittenBody } from './body-writer.ts'

export interface SealedPlace {
  bucketId: BucketId
  encrypted: boolean
}

/** A group is retired with each attempt, so the second one is enough unless groups are closed all the time. */
const MAX_ATTEMPTS = 3
const REFUSALS: readonly unknown[] = ['placement-group-closed', 'condemned']
/** Stored bytes are moved as they are. */
const NO_KEY = Buffer.alloc(0)

/** @throws AnvilError what `write` throws, or what kept the bytes from being moved */
export async function commitSealed<Result>(
  { native, groups }: Pick<BodyWriterOptions, 'native' | 'groups'>, { bucketId, encrypted }: SealedPlace, written: WrittenBody,
  write: (written: WrittenBody) => Promise<Result>,
): Promise<Result> {
  const leases: { release(): void }[] = []
  try {
    for (let attempt = 1, now = written; ; attempt++) {
      try {
        return await write(now)
      } catch (error) {
        if (now.body.kind !== 'blob' || attempt === MAX_ATTEMPTS || !isRefusal(error)) throw error
        const { blob } = now.body
        await groups.retire(blob.pgId)
        const lease = await groups.take(blob.blobId)
        leases.push(lease)
        const pgId = lease.group.id
        const left = await native.reencodeBlob({ ...blob, bucketId, encrypted, dataKey: NO_KEY }, pgId).catch((failure: unknown) => {
          throw nativeError(failure)
        })
        now = {
          ...now,
          body: { kind: 'blob', blob: { ...blob, pgId } },
          missing: left.map((index) => ({ blobId: blob.blobId, pgId, index })),
        }
      }
    }
  } finally {
    for (const lease of leases) lease.release()
  }
}

const isRefusal = (error: unknown): boolean => AnvilError.is(error, 'MetadataUnavailable') && REFUSALS.includes(error.details['reason'])
