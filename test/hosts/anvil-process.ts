/** A node of this checkout as a plain process in its host's network, with nothing but its settings in the environment. */
import { type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import type { AnvilNode, NodeSettings } from './anvil-node.ts'
import { type Outcome, outcomeOf } from './commands.ts'

const ANVIL = path.resolve(import.meta.dirname, '../../bin/anvil')
const STOP_TIMEOUT_MS = 60_000

export class AnvilProcess implements AnvilNode {
  readonly settings: NodeSettings
  /** Its working folder: without ANVIL_STATE_DIR its data lies there. */
  readonly #dir: string
  #child: ChildProcess | null = null

  /** @param folder of the test; the embedded Postgres' account must get through it */
  constructor(settings: NodeSettings, folder: string) {
    this.settings = settings
    this.#dir = path.join(folder, settings.name)
    fs.mkdirSync(this.#dir, { recursive: true, mode: 0o755 })
  }

  get name(): string {
    return this.settings.name
  }

  get host(): NodeSettings['host'] {
    return this.settings.host
  }

  async launch(): Promise<void> {
    if (this.#child !== null) throw new Error(`${this.name} runs already`)
    const log = fs.openSync(this.#logFile, 'a')
    const { namespace, args } = this.settings
    const child = namespace.spawn(ANVIL, args[0] === 'anvil' ? args.slice(1) : args, { cwd: this.#dir, env: this.#environment(), stdio: ['ignore', log, log] })
    fs.closeSync(log)
    await once(child, 'spawn')
    child.once('exit', (code, signal) => {
      this.#child = null
      fs.appendFileSync(this.#logFile, `--- ended: code ${String(code)}, signal ${String(signal)}\n`)
    })
    this.#child = child
  }

  async stop(): Promise<number | null> {
    const child = this.#child
    if (child === null) throw new Error(`${this.name} does not run`)
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    const [code, signal] = (await ended) as [number | null, NodeJS.Signals | null]
    clearTimeout(late)
    if (signal === 'SIGKILL') throw new Error(`${this.name} did not stop within ${STOP_TIMEOUT_MS} ms of SIGTERM`)
    return code
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  async running(): Promise<boolean> {
    return this.#child !== null
  }

  anvil(...args: string[]): Promise<Outcome> {
    return outcomeOf(...this.settings.namespace.command(ANVIL, args), { cwd: this.#dir, env: this.#environment() })
  }

  async log(): Promise<string> {
    return fs.existsSync(this.#logFile) ? fs.readFileSync(this.#logFile, 'utf8') : ''
  }

  async dispose(): Promise<void> {
    // An embedded Postgres outlives a killed node.
    if (this.#child !== null) await this.stop()
    fs.rmSync(this.#dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }

  get #logFile(): string {
    return path.join(this.#dir, 'node.log')
  }

  #environment(): NodeJS.ProcessEnv {
    const { PATH, HOME, CARGO_HOME, RUSTUP_HOME } = process.env
    return { PATH, HOME, CARGO_HOME, RUSTUP_HOME, ...this.settings.env }
  }
}
