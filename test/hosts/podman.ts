/**
 * Podman and buildah with a storage of the checkout's own: stand-ins never lie beside a person's images, and what a test
 * made goes with .cache. The running state lies in /run, whose paths are short and do not outlive a boot.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { outcomeOf, type Outcome, run, type RunOptions } from './commands.ts'

export const checkout = path.resolve(import.meta.dirname, '../..')
const cache = path.join(checkout, '.cache', 'containers')
const state = `/run/anvil-test-${createHash('sha256').update(checkout).digest('hex').slice(0, 8)}`
const storage = ['--root', path.join(cache, 'storage'), '--runroot', path.join(state, 'storage')]
const podmanOptions = [...storage, '--tmpdir', path.join(state, 'podman'), '--cgroup-manager', 'cgroupfs', '--events-backend', 'file', '--runtime', 'runc']

let machinesNetwork: string[] = []

/**
 * For a process within a host of the test: runc refuses to make a container in the network that it runs in itself.
 * @param pid of a process in the machine's network
 */
export function runInNetworkOf(pid: number): void {
  machinesNetwork = ['nsenter', `--net=/proc/${pid}/ns/net`, '--']
}

/** @throws Error when it fails */
export function podman(args: readonly string[], options: RunOptions = {}): Promise<string> {
  return run(...command(args), options)
}

/** The same where a failure is an answer. */
export function podmanOutcome(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return outcomeOf(...command(args), options)
}

function command(args: readonly string[]): [program: string, args: string[]] {
  const [program = 'podman', ...rest] = [...machinesNetwork, 'podman', ...podmanOptions, ...args]
  return [program, rest]
}

/** Its temporary folder holds the caches that a Dockerfile's RUN may mount. */
export function buildah(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const temporary = path.join(cache, 'tmp')
  fs.mkdirSync(temporary, { recursive: true })
  return run('buildah', [...storage, ...args], { env: { ...process.env, TMPDIR: temporary }, ...options })
}

/** A file of a build's full output, for when it fails. */
export function buildLog(name: string): string {
  fs.mkdirSync(cache, { recursive: true })
  const file = path.join(cache, `${name}.log`)
  fs.rmSync(file, { force: true })
  return file
}

/** Containers and volumes of a test whose name they begin with. */
export async function removeContainers(owner: number): Promise<void> {
  const prefix = containerPrefix(owner)
  const containers = await podman(['ps', '--all', '--quiet', '--filter', `name=^${prefix}`])
  for (const id of words(containers)) await podman(['rm', '--force', '--volumes', '--time', '0', id])
  const volumes = await podman(['volume', 'ls', '--quiet', '--filter', `name=^${prefix}`])
  for (const name of words(volumes)) await podman(['volume', 'rm', '--force', name])
}

/** Only one test at a time may use the storage. @throws Error when another one does */
export function takeStorage(owner: number): void {
  const file = path.join(cache, 'owner')
  fs.mkdirSync(cache, { recursive: true })
  const other = fs.existsSync(file) ? Number(fs.readFileSync(file, 'utf8')) : 0
  if (other > 0 && other !== owner && fs.existsSync(`/proc/${other}`)) throw new Error(`the container test of process ${other} is running in this checkout`)
  fs.writeFileSync(file, String(owner))
}

/** What builds and containers left mounted, also those that were cut off. Images and caches stay. */
export async function releaseStorage(): Promise<void> {
  await buildah(['rm', '--all'])
  const mounted = fs.readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '')
  const ours = mounted.filter((folder) => folder.startsWith(`${cache}/`) || folder.startsWith(`${state}/`))
  for (const folder of ours.toReversed()) await run('umount', [folder])
  fs.rmSync(path.join(cache, 'owner'), { force: true })
}

export function containerPrefix(owner: number): string {
  return `anvil-test-${owner}-`
}

function words(text: string): string[] {
  return text.split('\n').filter((word) => word !== '')
}
