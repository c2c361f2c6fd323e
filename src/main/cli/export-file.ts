/** Where a metadata export is written to and read from: files that only their owner reads, or the standard streams. */
import { randomBytes } from 'node:crypto'
import { createReadStream, existsSync, linkSync, statSync, unlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AdminError } from '../directory/admin-error.ts'
import { hasCode, syncFolder } from '../secrets/private-file.ts'

/** The standard stream instead of a file. */
export const STANDARD = '-'

const READ_BYTES = 1024 * 1024

/** The path of the new file: in a folder it gets the name `name`. @throws AdminError when it is there already */
export function newFilePath(to: string, name: string): string {
  const given = resolve(to)
  const path = existsSync(given) && statSync(given).isDirectory() ? join(given, name) : given
  if (existsSync(path)) throw new AdminError(`${path} is there already, and is not overwritten`)
  return path
}

/**
 * Writes a new file, mode 0600, durably. It gets its name when it is whole: one that ends in `.partial` is not.
 * @returns bytes written
 */
export async function writeNewFile(path: string, bytes: AsyncIterable<Buffer>): Promise<number> {
  const partial = join(dirname(path), `.${basename(path)}-${randomBytes(4).toString('hex')}.partial`)
  const file = await open(partial, 'wx', 0o600)
  try {
    await file.chmod(0o600)
    for await (const chunk of bytes) await file.appendFile(chunk)
    await file.sync()
    const { size } = await file.stat()
    linkSync(partial, path)
    return size
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw new AdminError(`${path} is there already, and is not overwritten`)
    throw error
  } finally {
    await file.close()
    unlinkSync(partial)
    syncFolder(dirname(path))
  }
}

/** @throws AdminError when standard output is a terminal */
export async function writeStandardOutput(bytes: AsyncIterable<Buffer>): Promise<void> {
  if (process.stdout.isTTY) throw new AdminError('standard output is a terminal: send it to a file or a program')
  await pipeline(Readable.from(bytes), process.stdout, { end: false })
}

export const readExport = (from: string): AsyncIterable<Buffer> =>
  from === STANDARD ? process.stdin : createReadStream(resolve(from), { highWaterMark: READ_BYTES })
