/** Copies within a bucket that add a reference instead of bytes (DESIGN §6, §13 rule 8). */
import { assert } from '../../shared/errors.ts'
import type { BlobId, PgId } from '../../shared/ids.ts'
import { lockBucket } from './buckets.ts'
import type { ObjectRecord, PutOutcome, WriteCondition } from './contract.ts'
import { writeLiveObject } from './live-object.ts'
import { checkRecord, type Objects } from './objects.ts'
import { refuseCondemned } from './placement-groups.ts'
import { BODY_BLOB, BODY_PARTS } from './records.ts'
import { DROP_LISTED_REFERENCES } from './references.ts'
import type { Session } from './session.ts'
import { RolledBack, type Transactions } from './transaction.ts'

export class Copies {
  readonly #transactions: Transactions
  readonly #objects: Objects

  constructor(transactions: Transactions, objects: Objects) {
    this.#transactions = transactions
    this.#objects = objects
  }

  async putReference(record: ObjectRecord, condition: WriteCondition): Promise<PutOutcome | null> {
    // An inline body is in the row: there is nothing to refer to.
    if (record.body.kind === 'inline') return this.#objects.put(record, condition, [])
    checkRecord(record)
    return this.#transactions.run(async (session) => {
      await lockBucket(session, record.bucketId)
      // Keys are locked before blobs everywhere, so that no two writers wait for each other.
      const { modifiedMs, replaced } = await writeLiveObject(session, record, condition)
      const content = record.body.kind === 'parts' ? record.body.uploadId : (assert(record.body.kind === 'blob', 'inline is done above'), record.body.blob.blobId)
      if (replaced?.contentId === content) {
        // The key held this content already: its reference is the one.
        return { modifiedMs }
      }
      const added = record.body.kind === 'parts' ? await addToManifest(session, record, content, replaced) : await addToBlob(session, record, content, replaced)
      if (!added) throw new RolledBack(null)
      if (replaced !== null) {
        await session.query(DROP_LISTED_REFERENCES, [[record.bucketId], [replaced.contentId], [replaced.body]], 'drop-references')
      }
      return { modifiedMs }
    })
  }
}

/** False when the blob has no reference left. */
async function addToBlob(session: Session, { bucketId, key }: ObjectRecord, blobId: string, replaced: { contentId: string; body: number } | null): Promise<boolean> {
  // Those that this transaction changes, in the order of their ids.
  const ids = replaced?.body === BODY_BLOB ? [blobId, replaced.contentId] : [blobId]
  const rows = await session.query<[string, PgId, number]>(
    'SELECT blob_id, pg_id, refs FROM blobs WHERE bucket_id = $1 AND blob_id = ANY($2::uuid[]) ORDER BY blob_id FOR UPDATE',
    [bucketId, ids],
    'lock-blobs',
  )
  const source = rows.find(([id]) => id === blobId)
  if (source === undefined || source[2] === 0) return false
  await refuseCondemned(session, bucketId, blobId as BlobId, source[1])
  await session.query('UPDATE blobs SET refs = refs + 1 WHERE bucket_id = $1 AND blob_id = $2', [bucketId, blobId], 'add-reference')
  // The source's row may name a group that the blob has left since.
  await session.query('UPDATE objects SET pg_id = $3 WHERE bucket_id = $1 AND key = $2 AND pg_id <> $3', [bucketId, key, source[1]], 'set-hint')
  return true
}

async function addToManifest(session: Session, { bucketId }: ObjectRecord, uploadId: string, replaced: { contentId: string; body: number } | null): Promise<boolean> {
  const ids = replaced?.body === BODY_PARTS ? [uploadId, replaced.contentId] : [uploadId]
  const rows = await session.query<[string, number]>(
    'SELECT upload_id, refs FROM manifests WHERE bucket_id = $1 AND upload_id = ANY($2::uuid[]) ORDER BY upload_id FOR UPDATE',
    [bucketId, ids],
    'lock-manifests',
  )
  const source = rows.find(([id]) => id === uploadId)
  if (source === undefined || source[1] === 0) return false
  await session.query('UPDATE manifests SET refs = refs + 1 WHERE bucket_id = $1 AND upload_id = $2', [bucketId, uploadId], 'add-manifest-reference')
  return true
}
