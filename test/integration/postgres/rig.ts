/** State folders, supervisors in this process and in others, and queries, for the tests of the embedded Postgres. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import { withClient } from '../../../src/main/postgres/connection.ts'
import { postgresLayout } from '../../../src/main/postgres/layout.ts'
import type { Logger } from '../../../src/main/postgres/logger.ts'
import { processesIn } from '../../../src/main/postgres/postmaster.ts'
import { embeddedClientConfig, startEmbeddedPostgres, type EmbeddedPostgres } from '../../../src/main/postgres/supervisor.ts'

/** Whatever is given to `after` runs at the end, also where the test fails. */
export interface Cleanup {
  after(work: () => unknown): void
}

const lists = new WeakMap<Cleanup, (() => unknown)[]>()

/** Cleans up last first, as what was made later may rest on what was made before: a supervisor on its folder. */
export function atEnd(t: Cleanup, work: () => unknown): void {
  const list = lists.get(t)
  if (list) return void list.push(work)
  const made = [work]
  lists.set(t, made)
  t.after(async () => {
    for (let next = made.pop(); next; next = made.pop()) await next()
  })
}

export interface StateFolder {
  path: string
  start(): Promise<EmbeddedPostgres>
  /** A process of its own; `pid` is the postmaster's. */
  startElsewhere(options?: { uid?: number; gid?: number }): Promise<{ process: ChildProcess; pid: number }>
  query<Row extends object = Record<string, unknown>>(sql: string, database?: string): Promise<Row[]>
  data(): string
}

/** A folder that only its owner may enter (`mode` 0700), below the system's temporary folder. Nothing of it is left running. */
export function stateFolder(t: Cleanup, { mode = 0o700, long = '' }: { mode?: number; long?: string } = {}): StateFolder {
  const path = mkdtempSync(join(tmpdir(), `anvil-state-${long}`))
  chmodSync(path, mode)
  const data = (): string => postgresLayout(path).data
  atEnd(t, async () => {
    for (let left = processesIn(data()); left.length > 0; left = processesIn(data())) {
      for (const pid of left) kill(pid, 'SIGKILL')
      await sleep(10)
    }
    rmSync(path, { recursive: true, force: true, maxRetries: 5 })
  })
  return {
    path,
    data,
    async start() {
      const postgres = await startEmbeddedPostgres({ stateDir: path, logger: quiet })
      atEnd(t, () => postgres.stop())
      return postgres
    },
    async startElsewhere(options = {}) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'supervise.ts'), path], { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/', ...options })
      atEnd(t, () => child.kill('SIGKILL'))
      const errors = text(child.stderr)
      const line = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
      const pid = Number(String(line[0]))
      if (!(pid > 1)) throw new Error(`the supervisor ended: ${await errors}`)
      return { process: child, pid }
    },
    query: (sql, database = 'postgres') =>
      withClient(embeddedClientConfig(path, database), async (client) => (await client.query(sql)).rows as never[]),
  }
}

/** A state folder whose database files exist already: a copy, which takes less than another initdb. */
export async function initializedFolder(t: Cleanup): Promise<StateFolder> {
  const state = stateFolder(t)
  execFileSync('cp', ['-a', join(await (template ??= makeTemplate()), 'postgres'), state.path])
  return state
}

let template: Promise<string> | undefined

/** Made once for this checkout: whoever is first renames it into place. */
async function makeTemplate(): Promise<string> {
  const cache = join(import.meta.dirname, '..', '..', '..', '.cache')
  const path = join(cache, `embedded-postgres-template-v1-${process.getuid!()}`)
  if (existsSync(path)) return path
  mkdirSync(cache, { recursive: true })
  const fresh = mkdtempSync(join(cache, 'new-template-'))
  await (await startEmbeddedPostgres({ stateDir: fresh, logger: quiet })).stop()
  // Tests kill processes, not hosts.
  appendFileSync(join(postgresLayout(fresh).data, 'postgresql.auto.conf'), 'fsync = off\n')
  try {
    renameSync(fresh, path)
  } catch {
    rmSync(fresh, { recursive: true, force: true }) // another test was faster
  }
  return path
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Resolves once `condition` holds. @throws Error when it does not within `withinMs` */
export async function until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  for (const deadline = Date.now() + withinMs; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await sleep(10)
  }
}

export const quiet: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
