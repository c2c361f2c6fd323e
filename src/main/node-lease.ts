/** Keeps this node's lease in the regional database, and publishes with it when the oldest running read started. */
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { NodeRecord, ObjectMetadata } from './metadata/contract.ts'

const LEASE_MS = 30_000
const RENEW_MS = 5_000

export interface NodeLeaseOptions {
  metadata: Pick<ObjectMetadata, 'registerNode' | 'renewLease'>
  logger: Logger
  node: Omit<NodeRecord, 'leaseUntilMs'>
  oldestReadMs(): Promise<number | null>
  /** Another live process has this node's identity: this one must end. */
  onLost(): void
}

export class NodeLease {
  readonly #options: NodeLeaseOptions
  /** Tells this process from another one with the same node key. */
  readonly processId = randomUUID()
  #timer: NodeJS.Timeout | null = null
  #renewing: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(options: NodeLeaseOptions) {
    this.#options = options
  }

  /** @throws Error when another live process holds the lease of this node */
  async start(): Promise<void> {
    await this.#options.metadata.registerNode(this.#options.node, LEASE_MS)
    if (!(await this.#renew())) throw new Error(`another process runs as node ${this.#options.node.nodeId}`)
    this.#schedule()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#renewing
  }

  async #renew(): Promise<boolean> {
    const { metadata, node } = this.#options
    return metadata.renewLease(node.nodeId, this.processId, LEASE_MS, await this.#options.oldestReadMs())
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#renewing = this.#renew().then(
        (held) => {
          if (!held && !this.#stopped) this.#options.onLost()
        },
        (error: unknown) => this.#options.logger.warn({ err: error }, 'the lease of this node could not be renewed, trying again'),
      ).finally(() => {
        if (!this.#stopped) this.#schedule()
      })
    }, RENEW_MS)
  }
}
