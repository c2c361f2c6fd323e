/** What is known of one peer on this node's side of the wire: its connections, its addresses, what waits for it. */
import type { Connection } from '@libp2p/interface'
import type { NodeId } from '../../shared/ids.ts'
import type { PeerIdentity } from './contract.ts'
import { MAX_CONNECTIONS_PER_PEER, REDIAL_FIRST_MS, REDIAL_MOST_MS, SURPLUS_CONNECTION_MS } from './limits.ts'
import { PACKET_PROTOCOL, PacketSender, type PacketSenderOptions } from './packet-sender.ts'

/** Processes of this node before the present one: one that comes back lives beside it. */
const MAX_FORMER_PROCESSES = 8

export interface PeerLinkOptions extends Omit<PacketSenderOptions, 'connection'> {
  /** A new proven connection to one of its addresses. */
  dial(link: PeerLink): Promise<Connection>
}

export class PeerLink {
  readonly nodeId: NodeId
  readonly packets: PacketSender
  addrs: readonly string[] = []
  /** The dial that runs. */
  dialling: Promise<Connection> | null = null
  /** When something last went to it or came from it. By performance.now(). */
  lastUsedMs = performance.now()
  readonly #ours: NodeId
  readonly #dial: PeerLinkOptions['dial']
  #identity: PeerIdentity | null = null
  #connections: Connection[] = []
  #former: string[] = []
  #failures = 0
  #notBeforeMs = 0
  #lastFailure: Error | null = null
  #surplus: NodeJS.Timeout | null = null

  constructor(nodeId: NodeId, ours: NodeId, options: PeerLinkOptions) {
    this.nodeId = nodeId
    this.#ours = ours
    this.#dial = options.dial
    this.packets = new PacketSender({ ...options, connection: () => this.connection() })
  }

  /** Of the process that it is connected to. */
  get identity(): PeerIdentity | null {
    return this.#connections.length > 0 ? this.#identity : null
  }

  get connected(): boolean {
    return this.#connections.length > 0
  }

  /** A request or a handshake is under way on one of its connections, or packets have not gone out. */
  get busy(): boolean {
    return this.packets.sending || this.#connections.some(({ streams }) => streams.some(({ protocol }) => protocol !== PACKET_PROTOCOL))
  }

  get idle(): boolean {
    return this.#connections.length === 0 && this.addrs.length === 0 && this.dialling === null
  }

  used(): void {
    this.lastUsedMs = performance.now()
  }

  /** A proven connection: one that is open, or what a dial gives, unless one has failed lately. */
  async connection(): Promise<Connection> {
    const open = this.#best()
    if (open !== null) return open
    if (this.dialling === null) {
      if (performance.now() < this.#notBeforeMs) throw this.#lastFailure ?? new Error(`${this.nodeId} was away a moment ago`)
      this.dialling = this.#dial(this).catch((error: unknown) => {
        this.#failed(error as Error)
        throw error
      }).finally(() => {
        this.dialling = null
      })
    }
    return this.dialling
  }

  /** The addresses have changed: what failed before says nothing about them. */
  setAddrs(addrs: readonly string[]): void {
    if (addrs.length === this.addrs.length && addrs.every((addr, i) => addr === this.addrs[i])) return
    this.addrs = addrs
    this.#recovered()
  }

  /** Whether this process was there before another one took its place: both live. */
  wasReplaced(processId: string): boolean {
    return this.#former.includes(processId)
  }

  /** A proven connection. `gone`: the last one is closed. */
  add(connection: Connection, identity: PeerIdentity, gone: () => void): void {
    if (this.#identity !== null && this.#identity.processId !== identity.processId) this.#replaceProcess(this.#identity.processId)
    this.#identity = identity
    this.#connections.push(connection)
    this.#recovered()
    this.used()
    connection.addEventListener('close', () => {
      if (!this.#connections.includes(connection)) return
      this.#connections = this.#connections.filter((one) => one !== connection)
      this.packets.reset()
      if (this.#connections.length === 0) gone()
    })
    while (this.#connections.length > MAX_CONNECTIONS_PER_PEER) this.#close(this.#connections[0]!)
    this.#scheduleSurplus()
  }

  /** `gone` is called. What is sent later dials again. */
  closeAll(): void {
    if (this.#surplus !== null) clearTimeout(this.#surplus)
    this.#surplus = null
    this.packets.reset()
    for (const connection of [...this.#connections]) connection.abort(new Error('this node is done with the peer'))
  }

  /** Both sides choose the same of two connections that crossed: the one that the smaller node id dialled. */
  #best(): Connection | null {
    const open = this.#connections.filter(({ status }) => status === 'open')
    return open.findLast((one) => this.#preferred(one)) ?? open.at(-1) ?? null
  }

  #preferred(connection: Connection): boolean {
    return (connection.direction === 'outbound') === (this.#ours < this.nodeId)
  }

  #replaceProcess(processId: string): void {
    this.#former = [...this.#former, processId].slice(-MAX_FORMER_PROCESSES)
    const old = this.#connections
    this.#connections = []
    this.packets.reset()
    for (const connection of old) connection.abort(new Error('the peer has a new process'))
  }

  #scheduleSurplus(): void {
    if (this.#connections.length < 2 || this.#surplus !== null) return
    this.#surplus = setTimeout(() => {
      this.#surplus = null
      if (!this.#connections.some((one) => this.#preferred(one))) return
      for (const connection of this.#connections.filter((one) => !this.#preferred(one))) this.#close(connection)
    }, SURPLUS_CONNECTION_MS)
    this.#surplus.unref()
  }

  #close(connection: Connection): void {
    this.#connections = this.#connections.filter((one) => one !== connection)
    connection.abort(new Error('one connection suffices'))
  }

  #failed(error: Error): void {
    this.#lastFailure = error
    const limitMs = Math.min(REDIAL_MOST_MS, REDIAL_FIRST_MS * 2 ** this.#failures++)
    this.#notBeforeMs = performance.now() + limitMs * (0.5 + Math.random() / 2)
  }

  #recovered(): void {
    this.#failures = 0
    this.#notBeforeMs = 0
  }
}
