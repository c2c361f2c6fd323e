/**
 * Continuation tokens: where a listing goes on. Opaque to clients: a short digest over bucket and position makes a token
 * that was made up, cut or taken from another bucket an error instead of a listing that begins somewhere.
 */
import { createHash } from 'node:crypto'
import type { BucketId } from '../../../shared/ids.ts'
import { invalidArgument } from '../errors.ts'

const VERSION = 1
const DIGEST_BYTES = 6

const digest = (after: Buffer, scope: BucketId | string): Buffer =>
  createHash('sha256').update(`anvil token ${scope}\n`).update(after).digest().subarray(0, DIGEST_BYTES)

export function encodeToken(after: string, scope: BucketId | string): string {
  const bytes = Buffer.from(after)
  return Buffer.concat([Buffer.of(VERSION), digest(bytes, scope), bytes]).toString('base64url')
}

/** @throws S3Error InvalidArgument */
export function decodeToken(token: string, scope: BucketId | string): string {
  const bytes = Buffer.from(token, 'base64url')
  const after = bytes.subarray(1 + DIGEST_BYTES)
  if (bytes[0] !== VERSION || !digest(after, scope).equals(bytes.subarray(1, 1 + DIGEST_BYTES))) {
    throw invalidArgument('The continuation token provided is incorrect', 'continuation-token', token)
  }
  return after.toString('utf8')
}
