/** What every scenario gets: where the server is, a folder of its own, and a way to run a client. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import fs from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

export const MIB = 1024 * 1024

export interface Target {
  endpoint: string
  accessKey: string
  secretKey: string
  region: string
}

export interface Context {
  target: Target
  /** The programs by name, from the folder they were installed to. */
  program(name: string): string
  /** Empty, and removed after the scenario. */
  folder: string
  /** A bucket name that nobody else uses. The scenario makes it. */
  bucket: string
  /** Runs a client to its end and resolves with its stdout; rejects with all it wrote when it fails. */
  run(program: string, args: string[], env?: Record<string, string>): Promise<string>
}

export interface Scenario {
  name: string
  run(context: Context): Promise<void>
}

const COMMAND_TIMEOUT_MS = 300_000
const SHOWN_CHARS = 4000

/** The environment has nothing of the person's own S3 settings in it. */
export function clientEnvironment(target: Target, home: string): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    LANG: 'C.UTF-8',
    HOME: home,
    AWS_ACCESS_KEY_ID: target.accessKey,
    AWS_SECRET_ACCESS_KEY: target.secretKey,
    AWS_DEFAULT_REGION: target.region,
    AWS_REGION: target.region,
    AWS_ENDPOINT_URL: target.endpoint,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_PAGER: '',
    AWS_MAX_ATTEMPTS: '1', // a scenario that needs a retry has found something
  }
}

export function runCommand(program: string, args: string[], options: { cwd: string; env: Record<string, string>; timeoutMs?: number }): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const { cwd, env, timeoutMs = COMMAND_TIMEOUT_MS } = options
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' })
  let stdout = ''
  let everything = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    everything += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (everything += text))
  child.once('error', reject)
  child.once('close', (code, signal) => {
    if (code === 0) resolve(stdout)
    else reject(new Error(`${path.basename(program)} ${args.join(' ')}: ${signal ?? `exit code ${code}`}\n${everything.slice(-SHOWN_CHARS)}`))
  })
  return promise
}

/** Random bytes, since a server could get zeros right by accident. */
export async function randomFile(file: string, bytes: number): Promise<void> {
  await fs.mkdir(path.dirname(file), { recursive: true })
  await pipeline(Readable.from(randomChunks(bytes)), createWriteStream(file))
}

function* randomChunks(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= MIB) yield randomBytes(Math.min(left, MIB))
}

export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

export async function assertSameFile(actual: string, expected: string): Promise<void> {
  if ((await sha256(actual)) !== (await sha256(expected))) throw new Error(`${actual} differs from ${expected}`)
}

export async function assertSameTree(actual: string, expected: string): Promise<void> {
  const [a, b] = await Promise.all([tree(actual), tree(expected)])
  if (a.join('\n') !== b.join('\n')) throw new Error(`folders differ: ${a.join(', ')} against ${b.join(', ')}`)
  for (const file of a) await assertSameFile(path.join(actual, file), path.join(expected, file))
}

async function tree(folder: string): Promise<string[]> {
  const entries = await fs.readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort()
}

/**
 * A tree with what is easy to get wrong: an empty file, spaces, unicode, a plus, borders of the sizes. A minute old: S3
 * tells times in whole seconds, and `aws s3 sync` takes a file of the same second for newer than its upload.
 */
export async function sampleTree(folder: string): Promise<void> {
  const sizes: Record<string, number> = {
    'empty.bin': 0,
    'one byte.bin': 1,
    'inline-border.bin': 4096,
    'inline-border-and-one.bin': 4097,
    'a/b/c/deep.bin': 70_000,
    'a/plus+and&and=.bin': 128 * 1024,
    'Übergröße/日本語 🗿.bin': 300_000,
    'stripe.bin': MIB + 17,
    'big/multipart.bin': 20 * MIB + 3,
  }
  const modified = new Date(Date.now() - 60_000)
  for (const [name, bytes] of Object.entries(sizes)) {
    await randomFile(path.join(folder, name), bytes)
    await fs.utimes(path.join(folder, name), modified, modified)
  }
}

export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${what}: ${a}, expected ${b}`)
}
