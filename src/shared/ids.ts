/**
 * Identifiers as they travel through Anvil. All are plain strings or numbers, branded so that one cannot stand for
 * another. Binary forms exist only at the edges (COPY rows, the addon).
 */
import { randomFillSync } from 'node:crypto'

declare const brand: unique symbol
type Branded<T, B extends string> = T & { readonly [brand]: B }

/** 32 lower-case hex digits: the 128-bit id of a blob. The first 48 bits are milliseconds since the epoch (RFC 9562, UUIDv7), so ids are ordered by time. */
export type BlobId = Branded<string, 'BlobId'>
/** 32 lower-case hex digits; same construction as {@link BlobId}. Names a multipart upload and, once it is complete, the parts of its object. */
export type UploadId = Branded<string, 'UploadId'>
/** 32 lower-case hex digits, random. */
export type DriveId = Branded<string, 'DriveId'>
/** 32 lower-case hex digits, random: one deployment, in its global database and on each of its drives. */
export type DeploymentId = Branded<string, 'DeploymentId'>
/** libp2p peer id of the node's Ed25519 identity key. */
export type NodeId = Branded<string, 'NodeId'>
/** Key of a bucket in every table: a small integer that the global database gives and never gives again. */
export type BucketId = Branded<number, 'BucketId'>
/** Key of a placement group in the regional database; never given again. */
export type PgId = Branded<number, 'PgId'>
/** Key of a tenant in the global database. */
export type TenantId = Branded<number, 'TenantId'>

/** Of blobs that no object names: the exports of the metadata. Buckets of users begin at 1. */
export const SYSTEM_BUCKET = 0 as BucketId

const pool = Buffer.alloc(1600)
let poolAt = pool.length

/** A new time-ordered 128-bit id (UUIDv7 without dashes). */
function timeOrderedId(nowMs: number): string {
  if (poolAt === pool.length) {
    randomFillSync(pool)
    poolAt = 0
  }
  const bytes = pool.subarray(poolAt, poolAt + 16)
  poolAt += 16
  bytes.writeUIntBE(nowMs, 0, 6)
  bytes[6] = 0x70 | (bytes[6]! & 0x0f)
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  return bytes.toString('hex')
}

export const newBlobId = (nowMs = Date.now()): BlobId => timeOrderedId(nowMs) as BlobId
export const newUploadId = (nowMs = Date.now()): UploadId => timeOrderedId(nowMs) as UploadId

/** A new random 128-bit id, for things without an order: drives, deployments. */
export function randomId<T extends DriveId | DeploymentId>(): T {
  return randomFillSync(Buffer.alloc(16)).toString('hex') as T
}

/** When a time-ordered id was made, in milliseconds since the epoch. */
export const idTimeMs = (id: BlobId | UploadId): number => Number.parseInt(id.slice(0, 12), 16)

/** Postgres prints a uuid with dashes; inside Anvil it has none. */
export const fromUuid = <T extends BlobId | UploadId | DriveId | DeploymentId>(uuid: string): T =>
  uuid.replaceAll('-', '') as T

/** Whether `text` has the form of a 128-bit id. */
export const isId128 = (text: string): boolean => /^[0-9a-f]{32}$/.test(text)
