/**
 * Real Anvil nodes for the tests: one process each on free ports and a folder of its own, stopped, killed and started
 * again by pid. Only processes that were started here are ever signalled.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { json } from 'node:stream/consumers'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { Client, type QueryResultRow } from 'pg'
import { EMBEDDED_DATABASES, embeddedClientConfig } from '../../src/main/postgres/supervisor.ts'
import { freePort } from './ports.ts'
import type { Credentials } from './sigv4.ts'
import { until } from './until.ts'

export interface NodeOptions {
  /** Data folders. @default 1 */
  drives?: number
  /** Of the command that runs the node. @default ['--init-cluster'] */
  args?: readonly string[]
  /** More of the environment, or other values for it. */
  env?: Record<string, string>
  /** Where it runs. @default this host, on loopback */
  host?: NodeHost
}

/** A network of its own for a node: files and processes are this host's. */
export interface NodeHost {
  address: string
  /** What runs a program there, as the child itself. */
  command(program: string, args: readonly string[]): [string, string[]]
}

const LOOPBACK: NodeHost = { address: '127.0.0.1', command: (program, args) => [program, [...args]] }

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface Start {
  /** From the command to the first 200 of /-/readyz. */
  readyMs: number
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const ANVIL = join(ROOT, 'bin', 'anvil')
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 60_000
const LOG_TAIL_BYTES = 3000

const live = new Set<NodeProcess>()
// A test process that ends early leaves nothing running.
process.on('exit', () => live.forEach((node) => node.killEverything()))

export class NodeProcess {
  readonly dir: string
  readonly stateDir: string
  readonly drives: readonly string[]
  readonly port: number
  readonly credentials: Credentials = { accessKeyId: 'AKIAANVILTEST0000001', secretAccessKey: 'anvil-test-secret-key-0000000000000000001' }
  readonly logFile: string
  /** Changes hold from the next start on. */
  readonly env: Record<string, string>
  readonly host: NodeHost
  readonly #args: readonly string[]
  #child: ChildProcess | null = null
  #exit: Promise<Exit> = Promise.resolve({ code: null, signal: null })
  #clients: S3Client[] = []

  private constructor(dir: string, ports: readonly number[], options: NodeOptions) {
    const [http, grpc, quic, metrics] = ports as [number, number, number, number]
    const { address } = (this.host = options.host ?? LOOPBACK)
    this.dir = dir
    this.#args = options.args ?? ['--init-cluster']
    this.stateDir = join(dir, 'state')
    this.drives = Array.from({ length: options.drives ?? 1 }, (_, i) => join(dir, `drive${i + 1}`))
    this.port = http
    this.logFile = join(dir, 'node.log')
    this.env = {
      HTTP_BIND_ADDR: `${address}:${http}`,
      GRPC_BIND_ADDR: `${address}:${grpc}`,
      QUIC_BIND_ADDR: `/ip4/${address}/udp/${quic}/quic-v1`,
      ANVIL_METRICS_BIND_ADDR: `127.0.0.1:${metrics}`,
      ENABLE_MDNS: 'false',
      // tests count what lies on the drives
      ANVIL_METADATA_EXPORT_PERIOD_SECS: '0',
      ANVIL_STATE_DIR: this.stateDir,
      ANVIL_DATA_DIRS: this.drives.join(','),
      ANVIL_BOOTSTRAP_ACCESS_KEY: this.credentials.accessKeyId,
      ANVIL_BOOTSTRAP_SECRET_KEY: this.credentials.secretAccessKey,
      ...options.env,
    }
  }

  /** A folder and ports; nothing runs yet. */
  static async create(options: NodeOptions = {}): Promise<NodeProcess> {
    const dir = mkdtempSync(join(tmpdir(), 'anvil-e2e-'))
    // As root, the embedded Postgres runs under another account, which must get through.
    chmodSync(dir, 0o755)
    return new NodeProcess(dir, [await freePort(), await freePort(), await freePort(), await freePort()], options)
  }

  static async started(options: NodeOptions = {}): Promise<NodeProcess> {
    const node = await NodeProcess.create(options)
    try {
      await node.start()
    } catch (error) {
      await node.dispose()
      throw error
    }
    return node
  }

  get endpoint(): string {
    return `http://${this.host.address}:${this.port}`
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the node does not run')
    return this.#child.pid
  }

  get running(): boolean {
    return this.#child !== null
  }

  /** How the running (or last) process ended. */
  get exit(): Promise<Exit> {
    return this.#exit
  }

  /** Starts the process and waits until it is ready. */
  async start(): Promise<Start> {
    const began = performance.now()
    this.launch()
    await this.untilReady()
    return { readyMs: performance.now() - began }
  }

  /** Starts the process without waiting. */
  launch(): void {
    if (this.#child !== null) throw new Error('the node runs already')
    const log = openSync(this.logFile, 'a')
    const child = spawn(...this.host.command(ANVIL, this.#args), { cwd: this.dir, env: this.#environment(), stdio: ['ignore', log, log] })
    closeSync(log)
    live.add(this)
    this.#child = child
    this.#exit = once(child, 'exit').then(([code, signal]: unknown[]) => {
      this.#child = null
      appendFileSync(this.logFile, `--- ended: code ${String(code)}, signal ${String(signal)}\n`)
      return { code: code as number | null, signal: signal as NodeJS.Signals | null }
    })
  }

  /** Resolves at the first 200 of /-/readyz; rejects at once when the process ends before. */
  async untilReady(timeoutMs = START_TIMEOUT_MS): Promise<void> {
    await until('the node is ready', async () => !this.running || (await statusOf(this.port, '/-/readyz', this.host.address)) === 200, {
      timeoutMs, everyMs: 10, detail: () => this.logTail(),
    })
    if (!this.running) throw new Error(`the node ended before it was ready\n${this.logTail()}`)
  }

  /** SIGTERM, and how it ended. Kills and fails when it takes too long. */
  async stop(): Promise<Exit> {
    this.signal('SIGTERM')
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_TIMEOUT_MS)
    const exit = await this.#exit
    clearTimeout(timer)
    if (exit.signal === 'SIGKILL') throw new Error(`the node did not stop within ${STOP_TIMEOUT_MS} ms of SIGTERM\n${this.logTail()}`)
    return exit
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal)
  }

  /** kill -9 of the node alone; the embedded Postgres goes on by itself. */
  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.#exit
  }

  /** Pid of the embedded Postgres of this node, null when there is none. */
  postmasterPid(): number | null {
    const dataDir = join(this.stateDir, 'postgres', 'data')
    let pid: number
    try {
      pid = Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n', 1)[0])
    } catch {
      return null // no such file: never started, or stopped in order
    }
    // The file outlives a killed postmaster, and pids are used again: a postmaster works in its data folder.
    return workingDirectory(pid) === realpathSync(dataDir) ? pid : null
  }

  /** kill -9 of the postmaster. */
  killPostgres(): void {
    const pid = this.postmasterPid()
    if (pid === null) throw new Error(`no postmaster runs for this node\n${this.logTail()}`)
    process.kill(pid, 'SIGKILL')
  }

  /** At once and without waiting: for the end of the test process. */
  killEverything(): void {
    this.#child?.kill('SIGKILL')
    const postmaster = this.postmasterPid()
    if (postmaster !== null) process.kill(postmaster, 'SIGQUIT')
  }

  /** Ends everything and removes the folder (kept with E2E_KEEP=1). */
  async dispose(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    if (this.running) await this.kill()
    const postmaster = this.postmasterPid()
    if (postmaster !== null) {
      process.kill(postmaster, 'SIGQUIT')
      await until('the postmaster is gone', () => this.postmasterPid() === null)
    }
    live.delete(this)
    if (process.env['E2E_KEEP'] === '1') process.stderr.write(`kept: ${this.dir}\n`)
    else rmSync(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }

  /** A client of the SDK, without retries: a test sees each answer as it came. */
  s3(config: S3ClientConfig = {}): S3Client {
    const client = new S3Client({
      endpoint: this.endpoint, region: 'us-east-1', credentials: this.credentials, forcePathStyle: true, maxAttempts: 1, ...config,
    })
    this.#clients.push(client)
    return client
  }

  /** Runs `anvil admin …` with this node's settings; resolves with its standard output. */
  async admin(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.anvil('admin', ...args)
    if (code !== 0) throw new Error(`anvil admin ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
    return stdout
  }

  async anvil(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = spawn(...this.host.command(ANVIL, args), { cwd: this.dir, env: this.#environment(), stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, stdout, stderr }
  }

  /** What the node's admin socket answers. */
  async adminSocket(method: string, path: string): Promise<unknown> {
    const call = request({ socketPath: join(this.stateDir, 'admin.sock'), method, path, agent: false })
    call.end()
    const [response] = (await once(call, 'response')) as [import('node:http').IncomingMessage]
    const body = await json(response)
    if (response.statusCode !== 200) throw new Error(`${method} ${path} on the admin socket: ${response.statusCode} ${JSON.stringify(body)}`)
    return body
  }

  /** A query on the embedded regional database. */
  async sql<Row extends QueryResultRow>(query: string, values: unknown[] = []): Promise<Row[]> {
    const client = new Client(embeddedClientConfig(this.stateDir, EMBEDDED_DATABASES.regional))
    await client.connect()
    try {
      return (await client.query<Row>(query, values)).rows
    } finally {
      await client.end()
    }
  }

  /** The last of what the node wrote. */
  logTail(): string {
    const text = this.log()
    return `--- log of the node (${this.logFile}):\n${text.slice(-LOG_TAIL_BYTES)}`
  }

  log(): string {
    try {
      return readFileSync(this.logFile, 'utf8')
    } catch {
      return '' // it was never started
    }
  }

  #environment(): NodeJS.ProcessEnv {
    mkdirSync(this.dir, { recursive: true })
    const { PATH, HOME, LANG, CARGO_HOME, RUSTUP_HOME, TMPDIR } = process.env
    // the sources are stripped and compiled once for all the starts of a test: half of what a start costs
    return { PATH, HOME, LANG, CARGO_HOME, RUSTUP_HOME, TMPDIR, NODE_COMPILE_CACHE: join(ROOT, '.cache', 'compile'), ...this.env }
  }
}

/** Status of a GET, 0 when nobody answers. */
export function statusOf(port: number, path: string, host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve) => {
    const call = request({ host, port, path, agent: false, timeout: 2000 }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    call.on('timeout', () => call.destroy())
    call.on('error', () => resolve(0))
    call.end()
  })
}

/** Of a process as /proc shows it; '' when it is gone. */
function workingDirectory(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return '' // no such process
  }
}

/** A field of /proc/PID/status in bytes (VmRSS, VmHWM). */
export function memoryOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  if (match === null) throw new Error(`no ${field} of process ${pid}`)
  return Number(match[1]) * 1024
}
