/** One change of one key on its way through the group commit. */
import type { BucketId } from '../../shared/ids.ts'
import type { ObjectRecord } from './contract.ts'
import type { CopyRows } from './copy-rows.ts'
import { STAGE_FIELDS, type ProgramName } from './programs.ts'
import { bodyColumns, BODY_INLINE, checksumColumn, objectAttributesColumn, storageClassColumn } from './records.ts'

export interface MutationResult {
  modifiedMs: number
  /** Of OUTCOME; 0 when all went well. */
  code: number
}

export interface Mutation {
  program: ProgramName
  bucketId: BucketId
  key: string
  /** null: a delete. */
  record: ObjectRecord | null
  /** ETag of If-Match, `*` for any. */
  condition: string | null
  /** Bit i: shard i is missing. */
  missing: number | null
}

/** About how many bytes the row takes in a batch. */
export const mutationBytes = ({ key, record }: Mutation): number =>
  120 + key.length + (record === null ? 0 : 400 + (record.body.kind === 'inline' ? record.body.data.length : 0))

export function encodeMutation(rows: CopyRows, ord: number, { bucketId, key, record, condition, missing }: Mutation): void {
  rows.row(STAGE_FIELDS)
  rows.int4(ord)
  rows.int8(bucketId)
  rows.text(key)
  if (record === null) {
    for (let field = 3; field < STAGE_FIELDS; field++) {
      if (field === 8) rows.int2(BODY_INLINE)
      else if (field === 16) rows.text(condition)
      else rows.null()
    }
    return
  }
  const body = bodyColumns(record.body)
  rows.int8(record.size)
  rows.uuid(body.contentId)
  rows.int8(body.pgId)
  rows.int4(body.stripeBytes)
  rows.int4(body.partCount)
  rows.int2(body.body)
  rows.bool(record.encryption.kind !== 'none')
  rows.text(record.etag)
  rows.text(storageClassColumn(record.storageClass))
  rows.text(checksumColumn(record.checksum))
  rows.text(objectAttributesColumn(record))
  rows.bytea(body.data)
  rows.int8(missing)
  rows.text(condition)
}
