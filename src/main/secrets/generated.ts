/** The secrets of a node on the embedded default: made once, kept in the state folder. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createPrivateFile, readPrivateFile } from './private-file.ts'

export interface GeneratedSecrets {
  jwtSecret: string
  /** 64 hex digits. */
  encryptionKey: string
  clusterSecret: string
}

export const secretsFile = (stateDir: string): string => join(stateDir, 'secrets.json')

export function generateSecrets(): GeneratedSecrets {
  const secret = () => randomBytes(32).toString('hex')
  return { jwtSecret: secret(), encryptionKey: secret(), clusterSecret: secret() }
}

/** The kept secrets, or null if none were ever made. @throws Error when the file is damaged: a new key could not read old data */
export function readSecrets(stateDir: string): GeneratedSecrets | null {
  const file = secretsFile(stateDir)
  const text = readPrivateFile(file)
  if (text === null) return null
  const damaged = (cause?: unknown) =>
    new Error(`${file} is damaged; put its backup back, since everything encrypted needs the key in it`, { cause })
  let kept: unknown
  try {
    kept = JSON.parse(text)
  } catch (error) {
    throw damaged(error)
  }
  if (!isSecrets(kept)) throw damaged()
  return { jwtSecret: kept.jwtSecret, encryptionKey: kept.encryptionKey, clusterSecret: kept.clusterSecret }
}

/** The kept secrets; `fresh` is kept if there are none. */
export function keepSecrets(stateDir: string, fresh: GeneratedSecrets): GeneratedSecrets {
  const kept = readSecrets(stateDir)
  if (kept) return kept
  if (createPrivateFile(secretsFile(stateDir), `${JSON.stringify({ version: 1, ...fresh }, null, 2)}\n`)) return fresh
  return readSecrets(stateDir) ?? fresh
}

function isSecrets(value: unknown): value is GeneratedSecrets {
  if (typeof value !== 'object' || value === null) return false
  const { jwtSecret, encryptionKey, clusterSecret } = value as Record<string, unknown>
  return (
    typeof jwtSecret === 'string' && jwtSecret.length >= 32 &&
    typeof encryptionKey === 'string' && /^[0-9a-f]{64}$/.test(encryptionKey) &&
    typeof clusterSecret === 'string' && clusterSecret.length >= 32
  )
}
