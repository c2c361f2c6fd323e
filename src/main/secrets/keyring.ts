/**
 * Secrets at rest. A keyring wraps small secrets (app secrets, data keys) under the first key of
 * ANVIL_SECRET_ENCRYPTION_KEY and unwraps them under whichever of its keys made them.
 *
 * The form of a wrapped secret, version 1: `01 | 24 random bytes | ciphertext | 16-byte tag`. AES-256-GCM as in XAES-256-GCM's
 * idea: the first 12 random bytes derive a key of this one message (HMAC-SHA256), the last 12 are
 * the nonce. So the number of secrets under one key has no practical bound, which a random 96-bit nonce alone would set.
 * The purpose is authenticated: what was wrapped as one app's secret does not unwrap as a data key, nor as another app's.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

export interface EncryptionKey {
  /** First 8 hex digits of a hash of the key; stored beside everything that it wraps. */
  id: string
  /** 32 bytes. */
  key: Buffer
}

export interface Wrapped {
  keyId: string
  /** base64 */
  wrapped: string
}

export interface Keyring {
  /** Id of the key that new secrets are wrapped with. */
  readonly currentKeyId: string
  /** `purpose` says what the secret is for and, where one could stand for another, whose it is; it must be given again to unwrap. */
  wrap(secret: Buffer, purpose: string): Wrapped
  /** @throws KeyringError when the key is not in the ring, or the text is not what it wrapped for this purpose */
  unwrap(keyId: string, wrapped: string, purpose: string): Buffer
}

/** A secret that cannot be unwrapped. The message never holds one. */
export class KeyringError extends Error {
  override readonly name = 'KeyringError'
}

const VERSION = 1
const RANDOM_BYTES = 24
const TAG_BYTES = 16
const OVERHEAD_BYTES = 1 + RANDOM_BYTES + TAG_BYTES

export function createKeyring(keys: readonly EncryptionKey[]): Keyring {
  const current = keys[0]
  if (!current) throw new KeyringError('a keyring needs at least one key')
  const wrappingKeys = new Map(keys.map(({ id, key }) => [id, hmac(key, 'anvil/wrap/v1')]))
  if (wrappingKeys.size !== keys.length) throw new KeyringError('two keys have the same id')
  const currentKey = wrappingKeys.get(current.id)!

  return {
    currentKeyId: current.id,
    wrap(secret, purpose) {
      const random = randomBytes(RANDOM_BYTES)
      const cipher = createCipheriv('aes-256-gcm', messageKey(currentKey, random), random.subarray(12))
      cipher.setAAD(associatedData(current.id, purpose))
      const sealed = Buffer.concat([cipher.update(secret), cipher.final()])
      return { keyId: current.id, wrapped: Buffer.concat([Buffer.of(VERSION), random, sealed, cipher.getAuthTag()]).toString('base64') }
    },
    unwrap(id, wrapped, purpose) {
      const key = wrappingKeys.get(id)
      if (!key) throw new KeyringError(`wrapped with key ${id}, which ANVIL_SECRET_ENCRYPTION_KEY does not list`)
      const bytes = Buffer.from(wrapped, 'base64')
      if (bytes.length < OVERHEAD_BYTES || bytes[0] !== VERSION) throw new KeyringError('not a wrapped secret of a known version')
      const random = bytes.subarray(1, 1 + RANDOM_BYTES)
      const decipher = createDecipheriv('aes-256-gcm', messageKey(key, random), random.subarray(12), { authTagLength: TAG_BYTES })
      decipher.setAAD(associatedData(id, purpose))
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(1 + RANDOM_BYTES, bytes.length - TAG_BYTES)), decipher.final()])
      } catch (cause) {
        throw new KeyringError(`a wrapped secret is damaged, or is not for ${purpose}`, { cause })
      }
    },
  }
}

/** The id of a key: tells keys apart, and says nothing of the key. */
export const keyId = (key: Buffer): string =>
  createHash('sha256').update(hmac(key, 'anvil/key-id/v1')).digest('hex').slice(0, 8)

/** What the global database keeps of a key (DESIGN §13, rule 10): proves possession of it, for one deployment, and nothing more. */
export const keyVerifier = (key: Buffer, deploymentId: string): Buffer => hmac(key, `anvil/key-verifier/v1/${deploymentId}`)

export const verifierMatches = (key: Buffer, deploymentId: string, verifier: Buffer): boolean =>
  verifier.length === 32 && timingSafeEqual(keyVerifier(key, deploymentId), verifier)

const messageKey = (wrappingKey: Buffer, random: Buffer): Buffer => hmac(wrappingKey, random.subarray(0, 12))

const associatedData = (id: string, purpose: string): Buffer => Buffer.from(`anvil/wrap/v1\0${id}\0${purpose}`)

const hmac = (key: Buffer, data: string | Buffer): Buffer => createHmac('sha256', key).update(data).digest()
