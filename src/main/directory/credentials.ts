/** Access keys and secrets of apps, in the forms that S3 clients expect. */
import { randomInt } from 'node:crypto'

export interface Credentials {
  /** S3 access key id; the app's client id. */
  accessKey: string
  secretKey: string
}

const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const ALPHANUMERIC = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

export const makeCredentials = (): Credentials => ({ accessKey: makeAccessKey(), secretKey: makeSecretKey() })

/** 20 characters, 80 bits of them random. */
export const makeAccessKey = (): string => `ANVL${pick(UPPER, 16)}`

/** 40 characters without any that a shell or a URL would mind; 238 bits. */
export const makeSecretKey = (): string => pick(ALPHANUMERIC, 40)

const pick = (alphabet: string, length: number): string => Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('')
