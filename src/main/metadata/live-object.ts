/** Writing one object row within a transaction that decides: copies by reference and completed uploads. */
import type { ObjectRecord, WriteCondition } from './contract.ts'
import { OUTCOME } from './programs.ts'
import { bodyColumns, BODY_INLINE, checksumColumn, objectAttributesColumn, storageClassColumn } from './records.ts'
import { NOW_MS } from './references.ts'
import type { Session } from './session.ts'
import { refusal } from './objects.ts'

/** What a row held before. */
export interface Replaced {
  contentId: string
  body: number
}

const COLUMNS =
  'bucket_id, size, modified_ms, content_id, pg_id, stripe_bytes, part_count, body, encrypted, key, etag, storage_class, checksum, attributes, data'
const VALUES = `$1, $2, ${NOW_MS}, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14`
const UPDATES = COLUMNS.split(', ')
  .filter((column) => column !== 'bucket_id' && column !== 'key')
  .map((column) => (column === 'modified_ms' ? 'modified_ms = greatest(o.modified_ms, excluded.modified_ms)' : `${column} = excluded.${column}`))
  .join(', ')

/**
 * Writes the row if the condition holds for the locked live row. The caller drops the reference of what it replaced, in a
 * later statement. @throws AnvilError PreconditionFailed, NoSuchKey
 */
export async function writeLiveObject(session: Session, record: ObjectRecord, condition: WriteCondition): Promise<{ modifiedMs: number; replaced: Replaced | null }> {
  if (condition.ifMatch !== undefined) {
    const [live] = await session.query<[string]>('SELECT etag FROM objects WHERE bucket_id = $1 AND key = $2 FOR UPDATE', [record.bucketId, record.key], 'lock-object')
    if (live === undefined) throw refusal(OUTCOME.ABSENT, condition)
    if (condition.ifMatch !== '*' && condition.ifMatch !== live[0]) throw refusal(OUTCOME.PRECONDITION_FAILED, condition)
  }
  const body = bodyColumns(record.body)
  const [row] = await session.query<[number, string | null, number | null]>(
    `INSERT INTO objects AS o (${COLUMNS}) VALUES (${VALUES}) ON CONFLICT (bucket_id, key) DO ${condition.ifNoneMatch === undefined ? `UPDATE SET ${UPDATES}` : 'NOTHING'}
     RETURNING new.modified_ms, old.content_id, old.body`,
    [
      record.bucketId, record.size, body.contentId, body.pgId, body.stripeBytes, body.partCount, body.body, record.encryption.kind !== 'none',
      record.key, record.etag, storageClassColumn(record.storageClass), checksumColumn(record.checksum), objectAttributesColumn(record), body.data,
    ],
    condition.ifNoneMatch === undefined ? 'write-object' : 'create-object',
  )
  if (row === undefined) throw refusal(OUTCOME.PRECONDITION_FAILED, condition)
  const [modifiedMs, contentId, oldBody] = row
  const replaced = contentId === null || oldBody === null || oldBody === BODY_INLINE ? null : { contentId, body: oldBody }
  return { modifiedMs, replaced }
}

