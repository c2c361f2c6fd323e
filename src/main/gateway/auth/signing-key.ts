/** SigV4's signing keys: four HMACs from a secret, the same for a day, so they are kept. */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'

/** Keys of this many secrets, days and regions. */
const MAX_KEYS = 2048

export interface SigningKey {
  /** 32 bytes. */
  bytes: Buffer
  /** The same for createHmac, which takes four times as long with bytes. */
  object: KeyObject
}

const hmac = (key: string | Uint8Array | KeyObject, text: string): Buffer => createHmac('sha256', key).update(text).digest()

export class SigningKeys {
  readonly #keys = new Map<string, SigningKey>()

  /** `date` is YYYYMMDD. */
  key(secret: string, date: string, region: string): SigningKey {
    const name = `${date}/${region}/${secret}`
    const known = this.#keys.get(name)
    if (known !== undefined) return known
    const bytes = hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), 's3'), 'aws4_request')
    const key = { bytes, object: createSecretKey(bytes) }
    // Oldest first: a day's keys go when the next day's have filled the map.
    if (this.#keys.size >= MAX_KEYS) this.#keys.delete(this.#keys.keys().next().value!)
    this.#keys.set(name, key)
    return key
  }
}

/** Whether `signature` (hex) is that of the text, in a time that does not tell how much of it is right. */
export function signatureMatches(key: SigningKey, text: string, signature: string): boolean {
  if (!/^[0-9a-f]{64}$/.test(signature)) return false
  return timingSafeEqual(hmac(key.object, text), Buffer.from(signature, 'hex'))
}
