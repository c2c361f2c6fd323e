/**
 * The commit of a body whose shards are durable. Where they cannot be committed in their group, the client's bytes are there
 * all the same, so they are written into another group and committed in that one. There are two reasons:
 * - Fewer members than the quorum have their shard, but enough to read them (DESIGN §5.5).
 * - The group was closed meanwhile, or the pair condemned by an orphan collector that found no row of it for too long
 *   (DESIGN §13, rules 2 and 4). Such a refusal is an outcome and no doubt: nothing of that commit can come any more.
 *
 * What stays in the old group names a group that the blob's row does not, and is collected as that. If the shards cannot be
 * read any more, the client is told.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId, DriveId } from '../../shared/ids.ts'
import { nativeError } from '../../shared/native.ts'
import type { BlobLayout, PlacementGroup } from '../metadata/contract.ts'
import type { GroupLease } from '../placement/groups.ts'
import type { BodyWriterOptions, WrittenBody } from './body-writer.ts'

export interface SealedPlace {
  bucketId: BucketId
  encrypted: boolean
}

type Storage = Pick<BodyWriterOptions, 'native' | 'groups'>

/** A group that refuses is retired, so the second one is enough unless groups are closed all the time. */
const MAX_ATTEMPTS = 3
const REFUSALS: readonly unknown[] = ['placement-group-closed', 'condemned']
/** Stored bytes are moved as they are. */
const NO_KEY = Buffer.alloc(0)
/** For the drives' states to catch up with what the write has met. */
const PATIENCE_MS = 10_000
/** From the first try on: for memory to be had, and for members that do not answer just now. */
const TRY_MS = 10_000
const LOOK_AGAIN_MS = 100

/** @throws AnvilError what `write` throws, or what kept the bytes from being moved */
export async function commitSealed<Result>(
  storage: Storage, place: SealedPlace, written: WrittenBody, write: (written: WrittenBody) => Promise<Result>,
): Promise<Result> {
  const leases: GroupLease[] = []
  const moved = async (from: WrittenBody): Promise<WrittenBody> => {
    const { body, lease } = await intoAnotherGroup(storage, place, from)
    leases.push(lease)
    return body
  }
  try {
    for (let attempt = 1, now = written; ; attempt++) {
      if (now.belowQuorum) now = await moved(now)
      try {
        return await write(now)
      } catch (error) {
        if (now.body.kind !== 'blob' || attempt === MAX_ATTEMPTS || !isRefusal(error)) throw error
        now = await moved(now)
      }
    }
  } finally {
    for (const lease of leases) lease.release()
  }
}

async function intoAnotherGroup({ native, groups }: Storage, { bucketId, encrypted }: SealedPlace, from: WrittenBody) {
  if (from.body.kind !== 'blob') throw new Error('an inline body lies in no group')
  const { blob } = from.body
  const old = await groups.ensure(blob.pgId)
  // The addon is one for all threads: another one may have let it forget a group that was deleted meanwhile.
  native.setPg({ pgId: old.id, generation: old.generation, k: old.k, m: old.m, members: [...old.members] })
  // One that members fail is wanted again when they are back: placement leaves it by itself, as soon as it knows of them.
  if (!from.belowQuorum) await groups.retire(blob.pgId)
  const failed = new Set(from.belowQuorum ? from.missing.map(({ index }) => old.members[index]!) : [])
  const deadline = performance.now() + PATIENCE_MS
  let tryUntil = Infinity
  for (;;) {
    const lease = await livingGroup(groups, blob, failed, deadline)
    tryUntil = Math.min(tryUntil, performance.now() + TRY_MS)
    const pgId = lease.group.id
    try {
      const left = await native.reencodeBlob({ ...blob, bucketId, encrypted, dataKey: NO_KEY }, pgId)
      const missing = left.map((index) => ({ blobId: blob.blobId, pgId, index }))
      const body: WrittenBody = { ...from, body: { kind: 'blob', blob: { ...blob, pgId } }, missing, belowQuorum: false }
      return { body, lease }
    } catch (cause) {
      lease.release()
      const error = nativeError(cause)
      if (performance.now() > tryUntil || !(await mayPass(native, error, { ...blob, bucketId }, old.members.filter((drive) => !failed.has(drive)), old))) throw error
      await sleep(LOOK_AGAIN_MS)
    }
  }
}

/**
 * Whether the same may go well a moment later. The upload was admitted, so it waits for memory. Hosts without processor time
 * for a second, which is how members come to be left out, are back a second later; what is no more on its drives is not.
 */
async function mayPass(
  native: Storage['native'], error: AnvilError, blob: BlobLayout & { bucketId: BucketId }, holders: readonly DriveId[], { k, members }: PlacementGroup,
): Promise<boolean> {
  if (AnvilError.is(error, 'SlowDown') || AnvilError.is(error, 'InsufficientRedundancy')) return true
  if (!AnvilError.is(error, 'ShardsUnavailable')) return false
  const mayHave = await Promise.all(holders.map(async (driveId) => {
    try {
      return (await native.hasShards(driveId, [{ ...blob, index: members.indexOf(driveId) }]))[0]
    } catch {
      return true // it does not answer: nobody knows
    }
  }))
  return mayHave.filter(Boolean).length >= k
}

/**
 * Another group for the blob, without the drives that have just failed it, once placement knows of them. A drive that placement
 * goes on trusting is tried again in the end.
 */
async function livingGroup(groups: Storage['groups'], { blobId, pgId }: BlobLayout, failed: ReadonlySet<DriveId>, deadline: number): Promise<GroupLease> {
  for (;;) {
    const lease = await groups.take(blobId)
    const late = performance.now() > deadline
    if (lease.group.id !== pgId && (late || !lease.group.members.some((drive) => failed.has(drive)))) return lease
    lease.release()
    if (late) {
      await groups.retire(pgId)
      continue
    }
    await sleep(LOOK_AGAIN_MS)
  }
}

const isRefusal = (error: unknown): boolean => AnvilError.is(error, 'MetadataUnavailable') && REFUSALS.includes(error.details['reason'])
