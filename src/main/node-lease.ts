/** Keeps this node's lease in the regional database, and publishes with it what other nodes must know before they remove, seal or close. */
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { PgId } from '../shared/ids.ts'
import { monotonicMs } from '../shared/monotonic.ts'
import type { NodeRegistration, ObjectMetadata } from './metadata/contract.ts'
import { readPrivateFile, writePrivateFile } from './secrets/private-file.ts'

const LEASE_MS = 30_000
const RENEW_MS = 5_000
/** Starts that failed one after the other before they had the lease. */
const MAX_EARLIER_PROCESSES = 8

export interface NodeLeaseOptions {
  metadata: Pick<ObjectMetadata, 'registerNode' | 'renewLease' | 'takeOverLease' | 'releaseLease'>
  /** This process holds its lock: every earlier process on it is dead, and its lease may be taken at once. */
  stateDir: string
  logger: Logger
  node: NodeRegistration
  /** Random: tells this process from another one with the same node key. */
  processId: string
  /** When the oldest running read of this process started (`monotonicMs`; null: none runs), and the groups with an upload. */
  report(): Promise<{ oldestReadMs: number | null; inUse: ReadonlySet<PgId> }>
  /** What the slots of this node's view want; the same object while that is the same. */
  wanted(): ReadonlySet<number>
  /** Another live process has this node's identity: this one must end. */
  onLost(): void
}

export class NodeLease {
  readonly #options: NodeLeaseOptions
  #timer: NodeJS.Timeout | null = null
  #renewing: Promise<void> = Promise.resolve()
  #stopped = false
  /** As it was said last; null: not yet. */
  #wanted: ReadonlySet<number> | null = null

  constructor(options: NodeLeaseOptions) {
    this.#options = options
  }

  /** May be tried again. @throws Error when another live process holds the lease of this node */
  async start(): Promise<void> {
    const { metadata, node, stateDir } = this.#options
    await metadata.registerNode(node, LEASE_MS)
    await metadata.takeOverLease(node.nodeId, this.#rememberProcess(join(stateDir, 'processes')), this.#options.processId)
    if (!(await this.#renew())) throw new Error(`another process runs as node ${node.nodeId}: was ${stateDir} copied to another host?`)
    this.#schedule()
  }

  /**
   * Notes this process in a file of the state folder and answers the earlier ones. Noted before the lease is taken, so that
   * a crash in between leaves no lease of a process that the file does not know.
   */
  #rememberProcess(file: string): string[] {
    const earlier = (readPrivateFile(file) ?? '').split('\n').filter((id) => id !== '' && id !== this.#options.processId).slice(0, MAX_EARLIER_PROCESSES)
    writePrivateFile(file, `${[this.#options.processId, ...earlier].join('\n')}\n`)
    return earlier
  }

  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#renewing
    await this.#options.metadata.releaseLease(this.#options.node.nodeId, this.#options.processId)
  }

  async #renew(): Promise<boolean> {
    const { metadata, node } = this.#options
    // What begins while the threads are asked is not in their answers: without a running read, none is older than the question.
    const askedMs = monotonicMs()
    const { oldestReadMs, inUse } = await this.#options.report()
    const wallMs = (monotonic: number): number => Date.now() - (monotonicMs() - monotonic)
    const wanted = this.#options.wanted()
    const held = await metadata.renewLease(node.nodeId, this.#options.processId, LEASE_MS, wallMs(oldestReadMs ?? askedMs), {
      askedMs: wallMs(askedMs), inUse: [...inUse], wanted: wanted === this.#wanted ? null : [...wanted],
    })
    if (held) this.#wanted = wanted
    return held
  }

  /** Renews now instead of at its turn: what this node publishes is new to the others. */
  renewNow(): void {
    // none waits while one is under way
    if (this.#timer === null || this.#stopped) return
    clearTimeout(this.#timer)
    this.#renewInTurn()
  }

  #schedule(): void {
    this.#timer = setTimeout(() => this.#renewInTurn(), RENEW_MS)
  }

  #renewInTurn(): void {
    this.#timer = null
    this.#renewing = this.#renew().then(
      (held) => {
        if (!held && !this.#stopped) this.#options.onLost()
      },
      (error: unknown) => this.#options.logger.warn({ err: error }, 'the lease of this node could not be renewed, trying again'),
    ).finally(() => {
      if (!this.#stopped) this.#schedule()
    })
  }
}
