/**
 * Keys of object data. Each object (or multipart upload) has a random data key; what is kept with it is that key wrapped:
 * by the node's master key (SSE-S3) or by the client's (SSE-C). The addon derives the key of each blob from the data key
 * and the blob's id, so parts share one data key safely.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { AnvilError, unreachable } from '../../shared/errors.ts'
import type { BucketId } from '../../shared/ids.ts'
import type { Bucket } from '../directory/contract.ts'
import type { Encryption } from '../metadata/contract.ts'
import type { Keyring } from '../secrets/keyring.ts'
import type { ReadKey, RequestedEncryption } from './contract.ts'

const NO_KEY = Buffer.alloc(0)

/** What a wrapped data key is for. A copy within a bucket shares the key with its source; another bucket never does. */
const purpose = (bucketId: BucketId): string => `object-data-key/${bucketId}`

/** A data key with the form in which it is kept. `dataKey` is empty when there is no encryption. */
export interface DataKey {
  dataKey: Buffer
  encryption: Encryption
}

/** AES-256-GCM of the data key under the client's key: 12 bytes nonce, 32 bytes ciphertext, 16 bytes tag. base64. */
function wrapForClient(dataKey: Buffer, clientKey: Buffer): string {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', clientKey, nonce)
  return Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

function unwrapForClient(wrapped: string, clientKey: Buffer): Buffer {
  const bytes = Buffer.from(wrapped, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', clientKey, bytes.subarray(0, 12))
  decipher.setAuthTag(bytes.subarray(44, 60))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(12, 44)), decipher.final()])
  } catch (cause) {
    throw new AnvilError('WrongEncryptionKey', 'The provided encryption key is not the one that the object was stored with.', { cause })
  }
}

/** A new data key as the request and the bucket ask for it. */
export function newDataKey(requested: RequestedEncryption, bucket: Bucket, keys: Keyring): DataKey {
  switch (requested.kind) {
    case 'bucket-default':
      if (!bucket.defaultEncryption) return { dataKey: NO_KEY, encryption: { kind: 'none' } }
      return serverSide(bucket.id, keys)
    case 's3':
      return serverSide(bucket.id, keys)
    case 'c': {
      const dataKey = randomBytes(32)
      return {
        dataKey,
        encryption: { kind: 'c', keyMd5: requested.keyMd5, wrappedKey: wrapForClient(dataKey, requested.key) },
      }
    }
    default:
      return unreachable(requested)
  }
}

function serverSide(bucketId: BucketId, keys: Keyring): DataKey {
  const dataKey = randomBytes(32)
  const { keyId, wrapped } = keys.wrap(dataKey, purpose(bucketId))
  return { dataKey, encryption: { kind: 's3', keyId, wrappedKey: wrapped } }
}

/**
 * The data key of something stored.
 * @throws AnvilError InvalidRequest (an SSE-C key is missing, or given where none is used), WrongEncryptionKey
 */
export function openDataKey(bucketId: BucketId, encryption: Encryption, readKey: ReadKey, keys: Keyring): Buffer {
  if (encryption.kind !== 'c' && readKey !== null) {
    throw new AnvilError('InvalidRequest', 'The encryption parameters are not applicable to this object.')
  }
  switch (encryption.kind) {
    case 'none':
      return NO_KEY
    case 's3':
      return keys.unwrap(encryption.keyId, encryption.wrappedKey, purpose(bucketId))
    case 'c':
      if (readKey === null) {
        throw new AnvilError('InvalidRequest',
          'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.')
      }
      return unwrapForClient(encryption.wrappedKey, readKey.key)
    default:
      return unreachable(encryption)
  }
}
