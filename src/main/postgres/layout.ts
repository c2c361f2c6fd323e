/** Where the embedded Postgres keeps what. All of it lies below ANVIL_STATE_DIR, but a socket whose path would be too long. */
import { createHash } from 'node:crypto'
import { chownSync, lstatSync, mkdirSync, realpathSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../secrets/private-file.ts'
import type { Account } from './account.ts'

export interface Layout {
  /** Belongs to the account of Postgres, mode 0700; so does all below. */
  home: string
  data: string
  log: string
  /** Folder of the Unix socket. */
  socketDir: string
  /** Whether `socketDir` is `home`/run, and not a short path elsewhere. */
  socketAtHome: boolean
}

export const SOCKET_PORT = 5432
/** sockaddr_un has 108 bytes with the NUL. */
const MAX_SOCKET_PATH_BYTES = 106
const SOCKET_NAME = `.s.PGSQL.${SOCKET_PORT}`

export const socketPath = (socketDir: string): string => join(socketDir, SOCKET_NAME)

/** Paths for a state folder that exists. The same folder always gives the same paths, whatever name it is called by. */
export function postgresLayout(stateDir: string): Layout {
  const home = join(realpathSync(stateDir), 'postgres')
  const atHome = join(home, 'run')
  const socketAtHome = Buffer.byteLength(socketPath(atHome)) <= MAX_SOCKET_PATH_BYTES
  return {
    home,
    data: join(home, 'data'),
    log: join(home, 'postgres.log'),
    socketDir: socketAtHome ? atHome : shortSocketDir(home),
    socketAtHome,
  }
}

export function makeFolders(layout: Layout, account: Account): void {
  makeFolder(layout.home, account)
  makeFolder(layout.socketDir, account)
}

/** Takes back what lies outside of the state folder. */
export function removeShortSocketDir(layout: Layout): void {
  if (layout.socketAtHome) return
  try {
    rmdirSync(layout.socketDir)
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTEMPTY')) throw error
  }
}

function shortSocketDir(home: string): string {
  const digest = createHash('sha256').update(home).digest('hex').slice(0, 16)
  return join(process.getuid!() === 0 ? '/run' : '/tmp', `anvil-postgres-${digest}`)
}

/** @throws Error when the folder is there and belongs to someone else: a socket in it could be anyone's */
function makeFolder(path: string, account: Account): void {
  if (makeNew(path)) {
    if (account.foreign) chownSync(path, account.uid, account.gid)
    return
  }
  const found = lstatSync(path)
  const half = account.foreign && found.uid === 0 // made, but not given away before a crash
  if (found.isDirectory() && half) chownSync(path, account.uid, account.gid)
  else if (!found.isDirectory() || found.uid !== account.uid || (found.mode & 0o022) !== 0) {
    throw new Error(`${path} must be a folder that belongs to user ${account.name} alone`)
  }
}

/** False if there is something of that name. */
function makeNew(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 })
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
}
