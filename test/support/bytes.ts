/** Bodies that look random, can be made again from a seed, and cost next to nothing. */
import { createCipheriv, createHash } from 'node:crypto'

export function bytes(length: number, seed = 1): Buffer {
  const key = createHash('sha256').update(`anvil test body ${seed}`).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')
export const md5 = (data: Uint8Array): string => createHash('md5').update(data).digest('hex')
export const md5Base64 = (data: Uint8Array): string => createHash('md5').update(data).digest('base64')
