/**
 * Network namespaces as hosts. The names carry the pid of the test that made them, so that it removes its own and nobody
 * else's, and a later test those of one that was killed.
 */
import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process'
import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { outcomeOf, run, type RunOptions } from './commands.ts'

const FOLDER = '/run/netns'
const PREFIX = 'anvil-test'

export class Namespace {
  readonly name: string
  /** For `podman run --network=ns:…`. */
  readonly path: string

  private constructor(name: string) {
    this.name = name
    this.path = `${FOLDER}/${name}`
  }

  /** @param owner pid of the process that removes it at the end */
  static async add(owner: number, label: string): Promise<Namespace> {
    const namespace = Namespace.existing(owner, label)
    await run('ip', ['netns', 'add', namespace.name])
    await namespace.ip('link', 'set', 'lo', 'up')
    return namespace
  }

  /** One that `add` has made in another process. */
  static existing(owner: number, label: string): Namespace {
    return new Namespace(`${PREFIX}-${owner}-${label}`)
  }

  /** `ip` on this namespace's devices, addresses and routes. */
  async ip(...args: string[]): Promise<void> {
    await run('ip', ['-n', this.name, ...args])
  }

  /** The program becomes the child itself: its pid and signals are as without a namespace. */
  spawn(program: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn(...this.command(program, args), options)
  }

  run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    return run(...this.command(program, args), options)
  }

  /** Only the network is another one, not the mounts: what runs there can make namespaces and containers itself. */
  command(program: string, args: readonly string[]): [string, string[]] {
    return ['nsenter', [`--net=${this.path}`, '--', program, ...args]]
  }

  async remove(): Promise<void> {
    await removeNamespace(this.name)
  }
}

/** Removes what tests left behind whose process is gone; `owner`: also what that one made. */
export async function removeLeftNamespaces(owner: number): Promise<void> {
  if (!fs.existsSync(FOLDER)) return
  for (const name of fs.readdirSync(FOLDER)) {
    const [, pid] = /^anvil-test-(\d+)-/.exec(name) ?? []
    if (pid !== undefined && (Number(pid) === owner || !lives(Number(pid)))) await removeNamespace(name)
  }
}

/** With all that runs in it: only this test starts anything there. */
async function removeNamespace(name: string): Promise<void> {
  for (let round = 0; round < 50; round++) {
    const { stdout } = await outcomeOf('ip', ['netns', 'pids', name])
    const pids = stdout.split('\n').map(Number).filter((pid) => pid > 0 && pid !== process.pid)
    if (pids.length === 0) break
    for (const pid of pids) kill(pid)
    await sleep(50)
  }
  await run('ip', ['netns', 'del', name])
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function lives(pid: number): boolean {
  return fs.existsSync(`/proc/${pid}`)
}
