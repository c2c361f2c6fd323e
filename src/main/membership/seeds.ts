/** Where to look for the others: BOOTSTRAP_ADDRS, and what the nodes of the region have registered in its database. */
import type { NodeId } from '../../shared/ids.ts'
import type { NodeRecord } from '../metadata/contract.ts'
import type { Logger } from '../observability/logger.ts'

export interface SeedsOptions {
  /** This node is none of them. */
  nodeId: NodeId
  bootstrapAddrs: readonly string[]
  /** The nodes of the regional database. May reject: it is asked again. */
  knownNodes(): Promise<Pick<NodeRecord, 'nodeId' | 'addrs' | 'leaseUntilMs'>[]>
  /** A changed list. */
  found(addrs: string[]): void
  /** Whether this node knows no other living member: then it asks more often. */
  alone(): boolean
  logger: Logger
}

const ALONE_EVERY_MS = 2_000
const EVERY_MS = 60_000
/** Of nodes in the database, those with the youngest leases: enough to find the rest through them. */
const MAX_KNOWN_NODES = 64

export class Seeds {
  readonly #options: SeedsOptions
  /** Addresses that turned out to be this node's own. */
  readonly #own = new Set<string>()
  #registered: string[] = []
  #last = ''
  #timer: NodeJS.Timeout | null = null
  #askedMs = -Infinity
  #asking = false
  #failed = false

  constructor(options: SeedsOptions) {
    this.#options = options
  }

  start(): void {
    this.#tell()
    void this.#ask()
    this.#timer = setInterval(() => {
      if (this.#options.alone() || performance.now() - this.#askedMs >= EVERY_MS) void this.#ask()
    }, ALONE_EVERY_MS)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  /** Nobody else lives there: it is not tried again. */
  isOwn(addr: string): void {
    this.#own.add(addr)
    this.#tell()
  }

  async #ask(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    this.#askedMs = performance.now()
    try {
      const nodes = await this.#options.knownNodes()
      const others = nodes.filter(({ nodeId }) => nodeId !== this.#options.nodeId).toSorted((a, b) => b.leaseUntilMs - a.leaseUntilMs)
      this.#registered = others.slice(0, MAX_KNOWN_NODES).flatMap(({ nodeId, addrs }) => addrs.map((addr) => `${addr.replace(/\/p2p\/.*$/, '')}/p2p/${nodeId}`))
      this.#failed = false
      this.#tell()
    } catch (error) {
      if (!this.#failed) this.#options.logger.warn({ err: error }, 'the database does not say where the other nodes are, asking again')
      this.#failed = true
    } finally {
      this.#asking = false
    }
  }

  #tell(): void {
    const addrs = [...new Set([...this.#options.bootstrapAddrs, ...this.#registered])].filter((addr) => !this.#own.has(addr))
    const text = addrs.join(' ')
    if (text === this.#last) return
    this.#last = text
    this.#options.found(addrs)
  }
}
