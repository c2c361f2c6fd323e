/** Ids of requests: random, so that they are unlike on every node and thread, made in bulk because each is short. */
import { randomBytes, randomFillSync } from 'node:crypto'

const ID_BYTES = 8
const pool = Buffer.alloc(ID_BYTES * 256)
let at = pool.length

/** 16 upper-case hex digits, as S3's. */
export function newRequestId(): string {
  if (at === pool.length) {
    randomFillSync(pool)
    at = 0
  }
  at += ID_BYTES
  return pool.toString('hex', at - ID_BYTES, at).toUpperCase()
}

/** x-amz-id-2: which gateway thread of which process answered. */
export const newHostId = (): string => randomBytes(24).toString('base64')
