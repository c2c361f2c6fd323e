/**
 * Multipart uploads (DESIGN §13, rule 9): UploadPart locks its upload's row FOR KEY SHARE, Complete and Abort FOR UPDATE.
 * Each part holds one reference to its blob, from the moment it is put.
 */
import { AnvilError } from '../../shared/errors.ts'
import type { BlobId, BucketId, UploadId } from '../../shared/ids.ts'
import { lockBucket } from './buckets.ts'
import type { CompleteOutcome, CompleteRequest, MissingShard, PartRecord, UploadRecord } from './contract.ts'
import { checkKey, checkText } from './keys.ts'
import { writeLiveObject } from './live-object.ts'
import { lockGroupFor, type PlacementGroups } from './placement-groups.ts'
import type { Pool } from './pool.ts'
import {
  BODY_BLOB, bodyColumns, checksumColumn, checksumOf, encryptionColumn, encryptionOf, partChecksumColumn, partOf, PART_COLUMNS,
  storageClassColumn, UPLOAD_COLUMNS, uploadAttributesColumn, uploadOf, type PartRow, type UploadRow,
} from './records.ts'
import { CLOCK_MS, DROP_LISTED_REFERENCES, missingMask, NOW_MS, reportMissing } from './references.ts'
import type { Session } from './session.ts'
import type { Transactions } from './transaction.ts'

/** How long the answer of a Complete is kept for a retry. */
const ANSWER_KEPT_MS = 24 * 3_600_000

export class Uploads {
  readonly #pool: Pool
  readonly #transactions: Transactions
  readonly #longTransactions: Transactions
  readonly #groups: PlacementGroups

  /** @param longTransactions for Complete and Abort: with ten thousand parts they take seconds on a busy host */
  constructor(pool: Pool, transactions: Transactions, longTransactions: Transactions, groups: PlacementGroups) {
    this.#pool = pool
    this.#transactions = transactions
    this.#longTransactions = longTransactions
    this.#groups = groups
  }

  async createUpload(upload: UploadRecord): Promise<void> {
    checkKey(upload.key)
    checkText('initiator', upload.initiator)
    checkText('storageClass', upload.storageClass)
    await this.#transactions.run(async (session) => {
      await lockBucket(session, upload.bucketId)
      await session.query(
        `INSERT INTO uploads (bucket_id, upload_id, started_ms, key, initiator, storage_class, attributes) VALUES ($1, $2, ${NOW_MS}, $3, $4, $5, $6)`,
        [
          upload.bucketId, upload.uploadId, upload.key, upload.initiator, storageClassColumn(upload.storageClass),
          uploadAttributesColumn(upload),
        ],
      )
    })
  }

  async upload(bucketId: BucketId, key: string, uploadId: UploadId): Promise<UploadRecord> {
    const [row] = await this.#pool.query<UploadRow>(`SELECT ${UPLOAD_COLUMNS} FROM uploads WHERE bucket_id = $1 AND upload_id = $2`, [bucketId, uploadId], 'upload')
    if (row === undefined || row[1] !== key) throw noSuchUpload()
    return uploadOf(bucketId, row)
  }

  async putPart(bucketId: BucketId, uploadId: UploadId, part: PartRecord, missing: MissingShard[]): Promise<void> {
    checkText('etag', part.etag)
    if (part.checksum !== null) checkText('checksum', part.checksum.value)
    const { body, contentId, pgId, stripeBytes, data } = bodyColumns(part.body)
    await this.#transactions.run(async (session) => {
      const [upload] = await session.query<[string | null]>(
        'SELECT attributes FROM uploads WHERE bucket_id = $1 AND upload_id = $2 FOR KEY SHARE',
        [bucketId, uploadId],
        'lock-upload-shared',
      )
      if (upload === undefined) throw noSuchUpload()
      await lockBucket(session, bucketId)
      if (part.body.kind === 'blob') await lockGroupFor(session, bucketId, part.body.blob.blobId, part.body.blob.pgId)
      const encrypted = uploadOf(bucketId, [uploadId, '', '', 0, null, upload[0]]).encryption.kind !== 'none'
      const [row] = await session.query<[string | null, number | null]>(
        `INSERT INTO parts (bucket_id, upload_id, part_number, size, modified_ms, body, blob_id, pg_id, stripe_bytes, encrypted, etag, checksum, data)
         VALUES ($1, $2, $3, $4, ${NOW_MS}, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (bucket_id, upload_id, part_number) DO UPDATE SET size = excluded.size, modified_ms = excluded.modified_ms,
           body = excluded.body, blob_id = excluded.blob_id, pg_id = excluded.pg_id, stripe_bytes = excluded.stripe_bytes,
           encrypted = excluded.encrypted, etag = excluded.etag, checksum = excluded.checksum, data = excluded.data
         RETURNING old.blob_id, old.body`,
        [bucketId, uploadId, part.partNumber, part.size, body, contentId, pgId, stripeBytes, encrypted, part.etag, partChecksumColumn(part.checksum), data],
        'put-part',
      )
      const [oldBlob, oldBody] = row!
      // The same part once more (its first commit was not known to its writer): the reference is there.
      if (oldBlob === contentId) return
      if (body === BODY_BLOB) {
        await session.query(
          'INSERT INTO blobs (bucket_id, blob_id, pg_id, size, stripe_bytes, encrypted, refs) VALUES ($1, $2, $3, $4, $5, $6, 1)',
          [bucketId, contentId, pgId, part.size, stripeBytes, encrypted],
          'new-blob',
        )
        if (missing.length > 0) {
          await session.query(reportMissing('SELECT $1::int8 AS bucket_id, $2::uuid AS content_id, $3::int8 AS pg_id, $4::int8 AS missing'), [
            bucketId, contentId, pgId, missingMask(missing),
          ])
        }
      }
      if (oldBlob !== null && oldBody === BODY_BLOB) await session.query(DROP_LISTED_REFERENCES, [[bucketId], [oldBlob], [BODY_BLOB]], 'drop-references')
    })
    if (part.body.kind === 'blob') this.#groups.addBytes(part.body.blob.pgId, part.size)
  }

  async listParts(bucketId: BucketId, uploadId: UploadId, after: number, limit: number): Promise<{ parts: PartRecord[]; truncated: boolean }> {
    const rows = await this.#pool.query<PartRow>(
      `SELECT ${PART_COLUMNS} FROM parts WHERE bucket_id = $1 AND upload_id = $2 AND part_number > $3 ORDER BY part_number LIMIT $4`,
      [bucketId, uploadId, after, limit + 1],
      'list-parts',
    )
    return { parts: rows.slice(0, limit).map(partOf), truncated: rows.length > limit }
  }

  async completeUpload(request: CompleteRequest): Promise<CompleteOutcome> {
    const { bucketId, uploadId, key, condition } = request
    return this.#longTransactions.run(async (session) => {
      const [row] = await session.query<UploadRow>(`SELECT ${UPLOAD_COLUMNS} FROM uploads WHERE bucket_id = $1 AND upload_id = $2 FOR UPDATE`, [bucketId, uploadId], 'lock-upload')
      // Commits, though it wrote nothing: what it repeats may not have reached the standby, and this commit comes after it.
      if (row === undefined || row[1] !== key) return keptAnswer(session, request)
      const upload = uploadOf(bucketId, row)
      await lockBucket(session, bucketId)
      const stored = await session.query<PartRow>(
        `SELECT ${PART_COLUMNS} FROM parts WHERE bucket_id = $1 AND upload_id = $2 ORDER BY part_number`,
        [bucketId, uploadId],
        'all-parts',
      )
      const listed = chooseParts(request, stored)
      const { size, etag, checksum } = request.assemble(upload, listed)
      // By subscript and not by a join: nobody has told the planner how many parts there are.
      await session.query(
        'UPDATE parts SET start = ($3::int8[])[part_number] WHERE bucket_id = $1 AND upload_id = $2 AND ($3::int8[])[part_number] >= 0',
        [bucketId, uploadId, startsOf(listed)],
      )
      await session.query('INSERT INTO manifests (bucket_id, upload_id, size, part_count, refs) VALUES ($1, $2, $3, $4, 1)', [bucketId, uploadId, size, listed.length])
      const { replaced } = await writeLiveObject(
        session,
        {
          bucketId, key, size, etag, checksum,
          modifiedMs: 0,
          storageClass: upload.storageClass,
          headers: upload.headers,
          userMetadata: upload.userMetadata,
          encryption: upload.encryption,
          body: { kind: 'parts', uploadId, partCount: listed.length },
        },
        condition,
      )
      const unlisted = await removeUnplacedParts(session, bucketId, uploadId)
      await drop(session, bucketId, [...unlisted, ...(replaced === null ? [] : [replaced])])
      await session.query('DELETE FROM uploads WHERE bucket_id = $1 AND upload_id = $2', [bucketId, uploadId])
      await session.query(
        `INSERT INTO completed_uploads (bucket_id, upload_id, completed_ms, size, key, etag, checksum, encryption)
         VALUES ($1, $2, ${NOW_MS}, $3, $4, $5, $6, $7)`,
        [bucketId, uploadId, size, key, etag, checksumColumn(checksum), encryptionColumn(upload.encryption)],
      )
      return { etag, checksum, size, encryption: upload.encryption, repeated: false }
    })
  }

  async abortUpload(bucketId: BucketId, key: string, uploadId: UploadId): Promise<void> {
    await this.#longTransactions.run(async (session) => {
      const [row] = await session.query<[string]>('SELECT key FROM uploads WHERE bucket_id = $1 AND upload_id = $2 FOR UPDATE', [bucketId, uploadId])
      if (row === undefined || row[0] !== key) throw noSuchUpload()
      await removeUpload(session, bucketId, uploadId)
    })
  }

  async expireUploads(idleMs: number, limit: number): Promise<number> {
    const idle = await this.#pool.query<[BucketId, UploadId]>(
      `SELECT bucket_id, upload_id FROM uploads AS u WHERE ${idleFor('$1')} ORDER BY started_ms LIMIT $2`, [idleMs, limit],
    )
    let expired = 0
    for (const [bucketId, uploadId] of idle) {
      const removed = await this.#longTransactions.run(async (session) => {
        await session.query('SELECT 1 FROM uploads WHERE bucket_id = $1 AND upload_id = $2 FOR UPDATE', [bucketId, uploadId])
        // looked at again under the lock: somebody may have gone on with it
        const still = await session.query(`SELECT 1 FROM uploads AS u WHERE bucket_id = $1 AND upload_id = $2 AND ${idleFor('$3')}`, [bucketId, uploadId, idleMs])
        if (still.length === 0) return false
        await removeUpload(session, bucketId, uploadId)
        return true
      })
      if (removed) expired++
    }
    return expired
  }

  /** Deletes answers that have been kept long enough. */
  async tidyAnswers(): Promise<void> {
    await this.#pool.query(`DELETE FROM completed_uploads WHERE completed_ms < ${CLOCK_MS} - $1`, [ANSWER_KEPT_MS])
  }
}

const noSuchUpload = (): AnvilError => new AnvilError('NoSuchUpload', 'the upload does not exist; it may have been completed or aborted')

/** Whether nothing of an upload `u` has come for so long, by the database's clock. */
const idleFor = (idleMs: string): string => `u.started_ms < ${CLOCK_MS} - ${idleMs}::int8
  AND NOT EXISTS (SELECT FROM parts AS p WHERE p.bucket_id = u.bucket_id AND p.upload_id = u.upload_id AND p.modified_ms >= ${CLOCK_MS} - ${idleMs}::int8)`

/** Of a locked upload. */
async function removeUpload(session: Session, bucketId: BucketId, uploadId: UploadId): Promise<void> {
  await drop(session, bucketId, await removeUnplacedParts(session, bucketId, uploadId))
  await session.query('DELETE FROM uploads WHERE bucket_id = $1 AND upload_id = $2', [bucketId, uploadId])
}

/** @throws AnvilError NoSuchUpload */
async function keptAnswer(session: Session, { bucketId, uploadId, key }: CompleteRequest): Promise<CompleteOutcome> {
  const [row] = await session.query<[string, string, string | null, number, string | null]>(
    'SELECT key, etag, checksum, size, encryption FROM completed_uploads WHERE bucket_id = $1 AND upload_id = $2',
    [bucketId, uploadId],
  )
  if (row === undefined || row[0] !== key) throw noSuchUpload()
  const [, etag, checksum, size, encryption] = row
  return { etag, checksum: checksumOf(checksum), size, encryption: encryptionOf(encryption), repeated: true }
}

/** @throws AnvilError InvalidPartOrder, InvalidPart, InvalidRequest */
function chooseParts({ parts }: CompleteRequest, stored: PartRow[]): PartRecord[] {
  if (parts.length === 0) throw new AnvilError('InvalidRequest', 'a completed upload has at least one part')
  const byNumber = new Map(stored.map((row) => [row[0], row]))
  let last = 0
  return parts.map(({ partNumber, etag, checksum }) => {
    if (partNumber <= last) throw new AnvilError('InvalidPartOrder', 'parts must be listed in ascending order')
    last = partNumber
    const row = byNumber.get(partNumber)
    const part = row === undefined ? null : partOf(row)
    if (part === null || part.etag !== etag || (checksum !== undefined && checksum !== part.checksum?.value)) {
      throw new AnvilError('InvalidPart', 'a listed part does not exist or is another one', { details: { partNumber, etag } })
    }
    return part
  })
}

/** Where each part begins in the object, by part number (from 1); -1 for parts that are not in it. */
function startsOf(listed: PartRecord[]): number[] {
  const starts = new Array<number>(listed.at(-1)!.partNumber).fill(-1)
  let start = 0
  for (const { partNumber, size } of listed) {
    starts[partNumber - 1] = start
    start += size
  }
  return starts
}

/** Deletes the parts that have no place in an object; their blobs still hold their reference. */
async function removeUnplacedParts(session: Session, bucketId: BucketId, uploadId: UploadId): Promise<{ contentId: string; body: number }[]> {
  const rows = await session.query<[BlobId, number]>(
    'DELETE FROM parts WHERE bucket_id = $1 AND upload_id = $2 AND start IS NULL RETURNING blob_id, body',
    [bucketId, uploadId],
  )
  return rows.map(([contentId, body]) => ({ contentId, body }))
}

async function drop(session: Session, bucketId: BucketId, contents: { contentId: string; body: number }[]): Promise<void> {
  if (contents.length === 0) return
  await session.query(
    DROP_LISTED_REFERENCES,
    [contents.map(() => bucketId), contents.map(({ contentId }) => contentId), contents.map(({ body }) => body)],
    'drop-references',
  )
}
