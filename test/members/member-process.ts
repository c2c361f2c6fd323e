/** Starts, stops, kills and pauses member processes; only those that were started here. */
import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatAddress } from '../../src/main/transport/addresses.ts'
import { until } from '../support/until.ts'
import type { MemberSettings, ToMember, View } from './messages.ts'

const PROGRAM = join(import.meta.dirname, 'member.ts')
const START_TIMEOUT_MS = 60_000

const live = new Set<MemberProcess>()
process.on('exit', () => live.forEach((member) => member.kill()))

export class MemberProcess {
  readonly name: string
  readonly settings: MemberSettings
  #child: ChildProcess | null = null
  #view: View | null = null
  #exit: Promise<number | null> = Promise.resolve(null)

  constructor(name: string, settings: Partial<MemberSettings> & Pick<MemberSettings, 'host' | 'port' | 'logFile'>) {
    this.name = name
    this.settings = { seed: randomBytes(32).toString('hex'), publicAddrs: [], bootstrapAddrs: [], clusterSecret: 'the secret of the test cluster', region: 'test', behindPlane: false, ...settings }
  }

  /** Where others dial it. */
  get addr(): string {
    return this.settings.publicAddrs[0] ?? formatAddress(this.settings.host, this.settings.port)
  }

  /** As it last told. */
  get view(): View {
    if (this.#view === null) throw new Error(`${this.name} has told nothing yet`)
    return this.#view
  }

  get nodeId(): string {
    return this.view.nodeId
  }

  get log(): string {
    return readFileSync(this.settings.logFile, 'utf8')
  }

  async start(): Promise<void> {
    this.#view = null
    const child = fork(PROGRAM, [JSON.stringify(this.settings)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child = child
    live.add(this)
    this.#exit = once(child, 'exit').then(([code]) => {
      live.delete(this)
      return code as number | null
    })
    child.on('message', (view) => {
      this.#view = view as View
    })
    await until(`${this.name} is up`, () => this.#view !== null, { timeoutMs: START_TIMEOUT_MS })
  }

  broadcast(message: ToMember): void {
    this.#child?.send(message)
  }

  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  /** kill -9. */
  kill(): void {
    this.#child?.kill('SIGKILL')
  }

  /** SIGTERM. @returns the exit code */
  async stop(): Promise<number | null> {
    this.#child?.kill('SIGTERM')
    return this.#exit
  }

  async killed(): Promise<void> {
    this.kill()
    await this.#exit
  }

  /** How it sees another one; null if it does not know it. */
  sees(other: MemberProcess): View['members'][number] | null {
    return this.view.members.find(({ nodeId }) => nodeId === other.nodeId) ?? null
  }
}
