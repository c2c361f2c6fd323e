/** One running postmaster: found by its pid file or started as a child, watched, and stopped. */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../secrets/private-file.ts'
import type { Account } from './account.ts'
import { childOptions, homeForChild, replaceFile } from './cluster-files.ts'
import type { Installation } from './installation.ts'
import type { Layout } from './layout.ts'

export interface Postmaster {
  readonly pid: number
  /** Whether it was running before this process looked. */
  readonly attached: boolean
  /** Resolves when the process is gone, with what is known of its end. */
  readonly gone: Promise<string>
  signal(signal: 'SIGINT' | 'SIGQUIT'): void
}

const WATCH_EVERY_MS = 200

/** The postmaster that serves these files now, or null. */
export function findPostmaster(layout: Layout): Postmaster | null {
  const pid = pidOfFile(layout.data)
  if (pid === null || !worksIn(pid, layout.data)) return null
  const watch = async (): Promise<string> => {
    while (worksIn(pid, layout.data)) await sleep(WATCH_EVERY_MS, undefined, { ref: false })
    return 'it ended'
  }
  return { pid, attached: true, gone: watch(), signal: (signal) => kill(pid, signal) }
}

/** Starts a postmaster that lives on when this process is killed: it is no part of its session, and logs into a file. */
export function startPostmaster(layout: Layout, account: Account, install: Installation): Postmaster {
  disownStalePidFile(layout.data)
  turnOverLog(layout.log)
  const log = openSync(layout.log, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  const home = homeForChild(layout, account)
  let child: ChildProcess
  try {
    const socketDir = layout.socketAtHome ? join(home.path, 'run') : layout.socketDir
    child = spawn(install.postgres, ['-D', join(home.path, 'data'), '-c', `unix_socket_directories=${socketDir}`], {
      ...childOptions(account),
      detached: true,
      stdio: ['ignore', log, log, ...(home.descriptor === null ? [] : [home.descriptor])],
    })
  } finally {
    closeSync(log)
    home.close()
  }
  const gone = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`it could not be started: ${error.message}`))
    child.once('exit', (code, signal) => resolve(signal ? `killed by ${signal}` : `it ended with code ${code}`))
  })
  child.unref()
  const pid = child.pid ?? -1
  return { pid, attached: false, gone, signal: (signal) => kill(pid, signal) }
}

/** Processes that work in these files: the postmaster, its children, and children that outlived it. */
export function processesIn(data: string): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => worksIn(pid, data))
}

/** The last lines of the log, for an error. */
export function logTail(log: string, lines = 6): string {
  return existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n') : ''
}

function kill(pid: number, signal: NodeJS.Signals): void {
  if (pid <= 0) return
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

/** A postmaster and its children have their data folder as working folder, by whatever path it was given. */
function worksIn(pid: number, data: string): boolean {
  try {
    const its = statSync(`/proc/${pid}/cwd`)
    const ours = statSync(data)
    return its.ino === ours.ino && its.dev === ours.dev
  } catch {
    return false // it is gone, or another user's
  }
}

function pidOfFile(data: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(join(data, 'postmaster.pid'), 'utf8'), 10)
    return Number.isInteger(pid) && pid > 0 ? pid : null
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null
    throw error
  }
}

/**
 * After a crash of the host or a restart of its container the pid in postmaster.pid may be someone else's, and Postgres
 * would refuse to start. It takes its own parent's pid for stale, so that is written there; the rest of the file stays,
 * with which Postgres makes sure that no process of the old one is left.
 */
function disownStalePidFile(data: string): void {
  const pid = pidOfFile(data)
  if (pid === null) return
  const path = join(data, 'postmaster.pid')
  const { uid, gid, mode } = statSync(path)
  const [, ...rest] = readFileSync(path, 'utf8').split('\n')
  replaceFile(path, [String(process.pid), ...rest].join('\n'), { uid, gid, mode: mode & 0o777 })
}

const LOG_BYTES = 16 * 1024 * 1024

function turnOverLog(log: string): void {
  const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0
  if (size > LOG_BYTES) renameSync(log, `${log}.1`)
}
