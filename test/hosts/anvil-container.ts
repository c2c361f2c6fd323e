/** A node in a container of the built image, in its host's network: `podman run --network=ns:…`. */
import type { AnvilNode, NodeSettings } from './anvil-node.ts'
import type { Outcome } from './commands.ts'
import { IMAGE } from './image.ts'
import { containerPrefix, podman, podmanOutcome } from './podman.ts'

const STOP_TIMEOUT_SECONDS = 60
/** Limits that hold on machines whose own are lower than those of an engine's default. */
const LIMITS = ['--ulimit', 'nofile=20000:20000', '--ulimit', 'nproc=32768:32768']

export class AnvilContainer implements AnvilNode {
  readonly settings: NodeSettings
  readonly container: string

  /** @param owner pid of the process that removes containers and volumes at the end */
  constructor(settings: NodeSettings, owner: number) {
    this.settings = settings
    this.container = `${containerPrefix(owner)}${settings.name}`
  }

  get name(): string {
    return this.settings.name
  }

  get host(): NodeSettings['host'] {
    return this.settings.host
  }

  /** A new container each time, as `docker compose up` after a change; an earlier one's named volumes stay. */
  async launch(): Promise<void> {
    await this.remove()
    const { namespace, env, args, volumes = false } = this.settings
    await podman([
      'run', '--detach', '--name', this.container, `--network=ns:${namespace.path}`, ...LIMITS,
      ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
      ...(volumes ? ['--volume', `${this.container}-data:/data`, '--volume', `${this.container}-state:/state`] : []),
      IMAGE, ...args,
    ])
  }

  /** The same container again: `docker restart`. */
  async startAgain(): Promise<void> {
    await podman(['start', this.container])
  }

  async stop(): Promise<number | null> {
    const began = performance.now()
    await podman(['stop', '--time', String(STOP_TIMEOUT_SECONDS), this.container])
    if (performance.now() - began > STOP_TIMEOUT_SECONDS * 1000) throw new Error(`${this.name} did not stop within ${STOP_TIMEOUT_SECONDS} s of SIGTERM`)
    return Number(await this.#inspect('{{.State.ExitCode}}'))
  }

  async kill(): Promise<void> {
    await podman(['kill', '--signal', 'KILL', this.container])
    await podman(['wait', this.container])
  }

  async running(): Promise<boolean> {
    return (await this.#inspect('{{.State.Running}}')) === 'true'
  }

  /** What the image's health check says, as an engine runs it: exit code 0 when it is well. */
  async health(): Promise<Outcome> {
    return podmanOutcome(['healthcheck', 'run', this.container])
  }

  anvil(...args: string[]): Promise<Outcome> {
    return this.exec('anvil', ...args)
  }

  exec(...command: string[]): Promise<Outcome> {
    return podmanOutcome(['exec', this.container, ...command])
  }

  async log(): Promise<string> {
    const { stdout, stderr } = await podmanOutcome(['logs', this.container])
    return stdout + stderr
  }

  /** The container without its named volumes. */
  async remove(): Promise<void> {
    await podman(['rm', '--force', '--volumes', '--ignore', this.container])
  }

  async dispose(): Promise<void> {
    await this.remove()
    if (this.settings.volumes === true) await podman(['volume', 'rm', '--force', `${this.container}-data`, `${this.container}-state`])
  }

  async #inspect(format: string): Promise<string> {
    return (await podman(['inspect', '--format', format, this.container])).trim()
  }
}
