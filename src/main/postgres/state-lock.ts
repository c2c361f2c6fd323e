/**
 * One process at a time uses a state folder: a node, or an `anvil admin` command that runs the embedded Postgres for a moment.
 *
 * Node has no flock(2), but its SQLite holds POSIX record locks, which is what is needed: the kernel drops them when the
 * process ends, however it ends, and they hold between containers that share the folder. Nothing is ever written into
 * the file; a file beside it says who holds the lock, for the message only.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

export type LockRole = 'node' | 'admin'

export interface StateLock {
  release(): void
}

export interface LockHolder {
  role: LockRole
  pid: number
}

/** The state folder is in use by another process. */
export class StateInUseError extends Error {
  override readonly name = 'StateInUseError'
  readonly holder: LockHolder | null

  constructor(stateDir: string, holder: LockHolder | null) {
    const who = holder ? `by another anvil process (${holder.role}, pid ${holder.pid})` : 'by another anvil process'
    super(`${stateDir} (ANVIL_STATE_DIR) is in use ${who}; each node needs a state folder of its own`)
    this.holder = holder
  }
}

/**
 * Waits for the lock. A node that runs is not waited for; an admin command is, since it ends soon.
 * @throws StateInUseError
 */
export async function lockState(stateDir: string, role: LockRole, { waitMs = 30_000, signal }: { waitMs?: number; signal?: AbortSignal } = {}): Promise<StateLock> {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const deadline = Date.now() + waitMs
  // The holder's name is written just after its lock is taken: a reader in between sees the one before.
  let seenNode = 0
  for (;;) {
    const lock = tryLock(stateDir, role)
    if (lock) return lock
    const holder = readHolder(stateDir)
    seenNode = holder?.role === 'node' && isAlive(holder.pid) ? seenNode + 1 : 0
    if (seenNode >= 3 || Date.now() >= deadline) throw new StateInUseError(stateDir, holder)
    await sleep(50, undefined, { signal })
  }
}

function tryLock(stateDir: string, role: LockRole): StateLock | null {
  const database = new DatabaseSync(join(stateDir, 'lock'))
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (isBusy(error)) return null
    throw error
  }
  writeFileSync(holderFile(stateDir), JSON.stringify({ role, pid: process.pid } satisfies LockHolder))
  let held = true
  return {
    release() {
      if (held) database.close()
      held = false
    },
  }
}

const holderFile = (stateDir: string): string => join(stateDir, 'lock.holder')

function readHolder(stateDir: string): LockHolder | null {
  try {
    return JSON.parse(readFileSync(holderFile(stateDir), 'utf8')) as LockHolder
  } catch {
    return null // being written just now; it only serves a message
  }
}

const SQLITE_BUSY = 5
const isBusy = (error: unknown): boolean => error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
