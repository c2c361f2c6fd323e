/** Rows of Postgres to the records of the contract and back. */
import type { BlobId, BucketId, PgId, UploadId } from '../../shared/ids.ts'
import type { ChecksumAlgorithm } from '../../shared/native.ts'
import type { Body, Checksum, Encryption, ObjectRecord, PartRecord, StoredHeaders, UploadRecord } from './contract.ts'

export const BODY_INLINE = 0
export const BODY_BLOB = 1
export const BODY_PARTS = 2

const STANDARD = 'STANDARD'
const NOT_ENCRYPTED: Encryption = { kind: 'none' }

export const storageClassColumn = (storageClass: string): string | null => (storageClass === STANDARD ? null : storageClass)
export const storageClassOf = (column: string | null): string => column ?? STANDARD

/** `algorithm:F|C:value` */
export const checksumColumn = (checksum: Checksum | null): string | null =>
  checksum === null ? null : `${checksum.algorithm}:${checksum.type === 'COMPOSITE' ? 'C' : 'F'}:${checksum.value}`

export function checksumOf(column: string | null): Checksum | null {
  if (column === null) return null
  const [algorithm, type, value] = column.split(':') as [ChecksumAlgorithm, string, string]
  return { algorithm, type: type === 'C' ? 'COMPOSITE' : 'FULL_OBJECT', value }
}

export const encryptionColumn = (encryption: Encryption): string | null =>
  encryption.kind === 'none' ? null : JSON.stringify(encryption)
export const encryptionOf = (column: string | null): Encryption =>
  column === null ? NOT_ENCRYPTED : (JSON.parse(column) as Encryption)

/** The `attributes` column: JSON whose absent members are empty, null when all are. */
interface Attributes {
  h?: StoredHeaders
  u?: Record<string, string>
  e?: Encryption
  /** Of uploads: what CreateMultipartUpload asked for. */
  c?: { algorithm: ChecksumAlgorithm | null; type: 'FULL_OBJECT' | 'COMPOSITE' | null }
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false
  return true
}

function attributesColumn(from: { headers: StoredHeaders; userMetadata: Record<string, string>; encryption: Encryption }, c?: Attributes['c']): string | null {
  const attributes: Attributes = {}
  if (!isEmpty(from.headers)) attributes.h = from.headers
  if (!isEmpty(from.userMetadata)) attributes.u = from.userMetadata
  if (from.encryption.kind !== 'none') attributes.e = from.encryption
  if (c !== undefined && (c.algorithm !== null || c.type !== null)) attributes.c = c
  return isEmpty(attributes) ? null : JSON.stringify(attributes)
}

const attributesOf = (column: string | null): Attributes => (column === null ? {} : (JSON.parse(column) as Attributes))

export const objectAttributesColumn = (record: ObjectRecord): string | null => attributesColumn(record)

/** Columns of a body, in `objects` and `parts`. */
export interface BodyColumns {
  body: number
  contentId: string
  pgId: number | null
  stripeBytes: number | null
  partCount: number | null
  data: Buffer | null
}

export function bodyColumns(body: Body): BodyColumns {
  switch (body.kind) {
    case 'inline':
      return { body: BODY_INLINE, contentId: body.blobId, pgId: null, stripeBytes: null, partCount: null, data: body.data }
    case 'blob':
      return { body: BODY_BLOB, contentId: body.blob.blobId, pgId: body.blob.pgId, stripeBytes: body.blob.stripeBytes, partCount: null, data: null }
    case 'parts':
      return { body: BODY_PARTS, contentId: body.uploadId, pgId: null, stripeBytes: null, partCount: body.partCount, data: null }
  }
}

/** Columns of `objects` that make an ObjectRecord, in the order of {@link ObjectRow}. */
export const OBJECT_COLUMNS =
  'key, size, modified_ms, content_id, pg_id, stripe_bytes, part_count, body, etag, storage_class, checksum, attributes, data'
export type ObjectRow = [
  key: string, size: number, modifiedMs: number, contentId: string, pgId: number | null, stripeBytes: number | null,
  partCount: number | null, body: number, etag: string, storageClass: string | null, checksum: string | null,
  attributes: string | null, data: Buffer | null,
]

function bodyOf(body: number, contentId: string, size: number, pgId: number | null, stripeBytes: number | null, partCount: number | null, data: Buffer | null): Body {
  if (body === BODY_INLINE) return { kind: 'inline', blobId: contentId as BlobId, data: data ?? Buffer.alloc(0) }
  if (body === BODY_PARTS) return { kind: 'parts', uploadId: contentId as UploadId, partCount: partCount ?? 0 }
  return { kind: 'blob', blob: { blobId: contentId as BlobId, pgId: (pgId ?? 0) as PgId, size, stripeBytes: stripeBytes ?? 0 } }
}

export function objectOf(bucketId: BucketId, row: ObjectRow): ObjectRecord {
  const [key, size, modifiedMs, contentId, pgId, stripeBytes, partCount, body, etag, storageClass, checksum, attributes, data] = row
  const { h, u, e } = attributesOf(attributes)
  return {
    bucketId,
    key,
    size,
    etag,
    modifiedMs,
    storageClass: storageClassOf(storageClass),
    headers: h ?? {},
    userMetadata: u ?? {},
    checksum: checksumOf(checksum),
    encryption: e ?? NOT_ENCRYPTED,
    body: bodyOf(body, contentId, size, pgId, stripeBytes, partCount, data),
  }
}

export const PART_COLUMNS = 'part_number, size, etag, checksum, modified_ms, body, blob_id, pg_id, stripe_bytes, data, start'
export type PartRow = [
  partNumber: number, size: number, etag: string, checksum: string | null, modifiedMs: number, body: number, blobId: string,
  pgId: number | null, stripeBytes: number | null, data: Buffer | null, start: number | null,
]

/** `algorithm:value` */
export const partChecksumColumn = (checksum: PartRecord['checksum']): string | null =>
  checksum === null ? null : `${checksum.algorithm}:${checksum.value}`

export function partOf(row: PartRow): PartRecord {
  const [partNumber, size, etag, checksum, modifiedMs, body, blobId, pgId, stripeBytes, data] = row
  const [algorithm, value] = (checksum ?? '').split(':') as [ChecksumAlgorithm, string]
  return {
    partNumber,
    size,
    etag,
    checksum: checksum === null ? null : { algorithm, value },
    modifiedMs,
    body: bodyOf(body, blobId, size, pgId, stripeBytes, null, data) as PartRecord['body'],
  }
}

export const UPLOAD_COLUMNS = 'upload_id, key, initiator, started_ms, storage_class, attributes'
export type UploadRow = [uploadId: string, key: string, initiator: string, startedMs: number, storageClass: string | null, attributes: string | null]

export const uploadAttributesColumn = (upload: UploadRecord): string | null =>
  attributesColumn(upload, { algorithm: upload.checksumAlgorithm, type: upload.checksumType })

export function uploadOf(bucketId: BucketId, row: UploadRow): UploadRecord {
  const [uploadId, key, initiator, startedMs, storageClass, attributes] = row
  const { h, u, e, c } = attributesOf(attributes)
  return {
    bucketId,
    uploadId: uploadId as UploadId,
    key,
    initiator,
    startedMs,
    storageClass: storageClassOf(storageClass),
    headers: h ?? {},
    userMetadata: u ?? {},
    checksumAlgorithm: c?.algorithm ?? null,
    checksumType: c?.type ?? null,
    encryption: e ?? NOT_ENCRYPTED,
  }
}
