/** The files of the embedded Postgres: made by initdb once, configured at each start. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, constants, existsSync, fchownSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { syncFolder } from '../secrets/private-file.ts'
import { canReach, clientNames, type Account } from './account.ts'
import type { Installation } from './installation.ts'
import type { Layout } from './layout.ts'
import type { Logger } from './logger.ts'
import { DATABASE_USER, pgHbaConf, pgIdentConf, postgresqlConf } from './settings.ts'

const UNFINISHED = 'data.new-'

/** Makes the database files unless they exist. Interrupted anywhere, the next call begins anew: the folder gets its name last. */
export async function ensureClusterFiles(layout: Layout, account: Account, install: Installation, logger: Logger): Promise<void> {
  for (const name of readdirSync(layout.home)) {
    if (name.startsWith(UNFINISHED)) rmSync(join(layout.home, name), { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  if (existsSync(layout.data)) return
  logger.info({ folder: layout.data, account: account.name, version: install.version }, 'making the database of the embedded Postgres')
  const name = `${UNFINISHED}${randomBytes(4).toString('hex')}`
  await initdb(layout, name, account, install)
  writeConfiguration(join(layout.home, name), account)
  renameSync(join(layout.home, name), layout.data)
  syncFolder(layout.home)
}

/** Settings as this version of Anvil wants them. */
export function writeConfiguration(data: string, account: Account): void {
  const files = { 'postgresql.conf': postgresqlConf(totalmem()), 'pg_hba.conf': pgHbaConf(), 'pg_ident.conf': pgIdentConf(clientNames()) }
  for (const [name, content] of Object.entries(files)) {
    replaceFile(join(data, name), content, { uid: account.uid, gid: account.gid, mode: 0o600 })
  }
}

/** Replaces a file in a folder that another account may write: no link of its making is followed. */
export function replaceFile(path: string, content: string, { uid, gid, mode }: { uid: number; gid: number; mode: number }): void {
  const temporary = `${path}.new`
  rmSync(temporary, { force: true })
  const fd = openSync(temporary, 'wx', mode)
  try {
    writeSync(fd, content)
    if (process.getuid!() === 0) fchownSync(fd, uid, gid)
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
}

/**
 * How a child that runs under `account` names the home folder. Where it may not pass through the folders above (a state
 * folder below /root), it inherits an open descriptor of the home and names it by that, since /proc/self/fd/N is entered
 * without a look at its parents.
 */
export function homeForChild(layout: Layout, account: Account): { path: string; descriptor: number | null; close(): void } {
  if (canReach(account, layout.home)) return { path: layout.home, descriptor: null, close() {} }
  const descriptor = openSync(layout.home, constants.O_RDONLY | constants.O_DIRECTORY)
  return { path: `/proc/self/fd/${CHILD_DESCRIPTOR}`, descriptor, close: () => closeSync(descriptor) }
}

/** The first after standard input, output and error. */
const CHILD_DESCRIPTOR = 3

/** Options of a child under `account`: no inherited environment, nothing open but its log and the home. */
export const childOptions = (account: Account) => ({
  cwd: '/',
  env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
  ...(account.foreign ? { uid: account.uid, gid: account.gid } : {}),
})

async function initdb(layout: Layout, name: string, account: Account, install: Installation): Promise<void> {
  const home = homeForChild(layout, account)
  try {
    const child = spawn(
      install.initdb,
      [
        '-D', join(home.path, name), '-U', DATABASE_USER, '--auth-local=peer', '--auth-host=reject', '--encoding=UTF8',
        '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C', '--data-checksums', '--no-instructions',
      ],
      { ...childOptions(account), stdio: ['ignore', 'pipe', 'pipe', ...(home.descriptor === null ? [] : [home.descriptor])] },
    )
    const exited = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve))
    const [code, output, errors] = await Promise.all([exited, text(child.stdout!), text(child.stderr!)])
    if (code !== 0) throw new Error(`initdb failed: ${(errors || output).trim()}`)
  } finally {
    home.close()
  }
}
