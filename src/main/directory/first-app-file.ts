/** The first app's generated credentials, kept in the state folder so that they are not lost with a terminal. */
import { join } from 'node:path'
import { createPrivateFile, readPrivateFile } from '../secrets/private-file.ts'
import type { Credentials } from './credentials.ts'

export interface FirstAppFile {
  path: string
  /** null if there is none. @throws Error when it is damaged */
  read(): Credentials | null
  /** Keeps `fresh`, unless credentials are kept already: then those. */
  keep(fresh: Credentials): Credentials
}

export function firstAppFile(stateDir: string): FirstAppFile {
  const path = join(stateDir, 'first-app.json')
  const read = (): Credentials | null => {
    const text = readPrivateFile(path)
    if (text === null) return null
    const { accessKey, secretKey } = JSON.parse(text) as Record<string, unknown>
    if (typeof accessKey === 'string' && typeof secretKey === 'string') return { accessKey, secretKey }
    throw new Error(`${path} is damaged`)
  }
  return {
    path,
    read,
    keep(fresh) {
      if (createPrivateFile(path, `${JSON.stringify(fresh, null, 2)}\n`)) return fresh
      return read() ?? fresh
    },
  }
}
