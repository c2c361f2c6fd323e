/** Where to look for the others: BOOTSTRAP_ADDRS, and what the nodes of the region have registered in its database. */
import type { NodeId } from '../../shared/ids.ts'
import type { NodeRecord } from '../metadata/contract.ts'
import type { Logger } from '../observability/logger.ts'
import { isDnsaddr, resolveDnsaddr } from '../transport/dnsaddr.ts'

export interface SeedsOptions {
  /** This node is none of them. */
  nodeId: NodeId
  bootstrapAddrs: readonly string[]
  /** The addresses that a `/dnsaddr/…` among them stands for. @default resolveDnsaddr */
  resolveList?(addr: string): Promise<string[]>
  /** Whether one could be resolved: null, or why not. */
  resolved(addr: string, failure: unknown): void
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
  /** What each list among the bootstrap addresses last stood for. */
  readonly #listed = new Map<string, readonly string[]>()
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
    await Promise.all(this.#options.bootstrapAddrs.filter(isDnsaddr).map((addr) => this.#resolve(addr)))
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

  async #resolve(addr: string): Promise<void> {
    try {
      this.#listed.set(addr, await (this.#options.resolveList ?? resolveDnsaddr)(addr))
      this.#options.resolved(addr, null)
      this.#tell()
    } catch (error) {
      // what it stood for before is tried further
      this.#options.resolved(addr, error)
    }
  }

  #tell(): void {
    const bootstrap = this.#options.bootstrapAddrs.flatMap((addr) => (isDnsaddr(addr) ? this.#listed.get(addr) ?? [] : [addr]))
    const addrs = [...new Set([...bootstrap, ...this.#registered])].filter((addr) => !this.#own.has(addr))
    const text = addrs.join(' ')
    if (text === this.#last) return
    this.#last = text
    this.#options.found(addrs)
  }
}
