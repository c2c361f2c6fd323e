/** The account that the embedded Postgres runs under. Postgres refuses to run as root, so a root process gives it another one. */
import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'

export interface Account {
  uid: number
  gid: number
  name: string
  /** Whether it is another one than this process's. */
  foreign: boolean
}

/**
 * The owner of the database's folder if that exists, so that an account chosen once stays. Otherwise this process's own,
 * or, for root, the system's `postgres` or `nobody`.
 */
export function postgresAccount(dataDir: string): Account {
  const own = process.getuid!()
  const owner = ownerOf(dataDir)
  if (own !== 0) {
    if (owner && owner.uid !== own) {
      throw new Error(`${dataDir} belongs to user ${owner.uid}, and this process runs as user ${own}: run anvil as the user who made it`)
    }
    return { uid: own, gid: process.getgid!(), name: ownName(), foreign: false }
  }
  const known = accounts()
  if (owner && owner.uid !== 0) {
    return { uid: owner.uid, gid: owner.gid, name: known.find((one) => one.uid === owner.uid)?.name ?? String(owner.uid), foreign: true }
  }
  const chosen = known.find((one) => one.name === 'postgres') ?? known.find((one) => one.name === 'nobody')
  if (!chosen) throw new Error('the embedded Postgres does not run as root, and this system has neither a user postgres nor nobody: run anvil as an ordinary user')
  return { ...chosen, foreign: true }
}

/** Names that may connect: whoever runs the node, and root, who could read the files anyway. */
export const clientNames = (): string[] => [...new Set([ownName(), 'root'])]

/** Whether the account can pass through every folder on the way to `path`. */
export function canReach(account: Account, path: string): boolean {
  if (!account.foreign) return true
  const probe = spawnSync('/bin/sh', ['-c', 'test -r "$1" && test -x "$1"', 'sh', path], {
    uid: account.uid, gid: account.gid, cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdio: 'ignore',
  })
  return probe.status === 0
}

function ownName(): string {
  try {
    return userInfo().username
  } catch (cause) {
    throw new Error(`user ${process.getuid!()} has no name on this system, and the embedded Postgres needs one: add it to /etc/passwd, or set GLOBAL_DATABASE_URL and REGIONAL_DATABASE_URL`, { cause })
  }
}

function ownerOf(path: string): { uid: number; gid: number } | null {
  return statSync(path, { throwIfNoEntry: false }) ?? null
}

function accounts(): { name: string; uid: number; gid: number }[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map(([name, , uid, gid]) => ({ name: name!, uid: Number(uid), gid: Number(gid) }))
}
