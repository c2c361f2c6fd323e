/** The transport over libp2p; contract.ts says what it promises. */
import { EventEmitter } from 'node:events'
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import type { DeploymentId, NodeId } from '../../shared/ids.ts'
import type { Logger } from '../observability/logger.ts'
import { formatAddress, parseAddress } from './addresses.ts'
import { PeerRefusal, type ConnectionBounds, type PeerIdentity, type RequestHandler, type RequestOptions, type Transport, type TransportEvents, type TransportStats } from './contract.ts'
import { dial, withSignal } from './dial.ts'
import { FrameDecoder } from './frames.ts'
import type { NodeIdentity } from './identity.ts'
import { startLibp2p } from './libp2p-node.ts'
import { DIAL_TIMEOUT_MS, KEPT_PEERS, MAX_PACKET_BYTES, MAX_REQUESTS_PER_PEER, PART_EVERY_MS, PROOF_TIMEOUT_MS, REQUEST_TIMEOUT_MS, UNUSED_PEER_MS } from './limits.ts'
import { startMdns, type LocalDiscovery, type MdnsOptions } from './mdns.ts'
import { PACKET_PROTOCOL } from './packet-sender.ts'
import { PeerLink } from './peer-link.ts'
import { HANDSHAKE_PROTOCOL, Proofs } from './proofs.ts'
import { answerRequest, requestProtocol, sendRequest } from './requests.ts'
import { surplusPeers } from './surplus-peers.ts'

export interface TransportOptions {
  identity: NodeIdentity
  /** Random per process (MemberRecord.processId). */
  processId: string
  deploymentId: DeploymentId
  region: string
  /** The first is proven, any is accepted. */
  clusterSecrets: readonly string[]
  /** Where libp2p listens: a loopback port behind the shard plane's relay, or, in tests, the very address that peers dial. */
  listen: { host: string; port: number }
  /** What peers dial, as multiaddrs without /p2p; empty: the address that it listens on. */
  publicAddrs: readonly string[]
  /** null: no search on the local network. */
  mdns: MdnsOptions | null
  logger: Logger
  /** @default KEPT_PEERS, UNUSED_PEER_MS */
  bounds?: ConnectionBounds
  /** Wall clock, told to peers. @default Date.now */
  nowMs?: () => number
}

/** @throws Error when the address cannot be listened on */
export async function startTransport(options: TransportOptions): Promise<Transport> {
  const transport = new Libp2pTransport(options)
  await transport.start()
  return transport
}

class Libp2pTransport extends EventEmitter<TransportEvents> implements Transport {
  readonly nodeId: NodeId
  readonly #options: TransportOptions
  readonly #links = new Map<NodeId, PeerLink>()
  /** Addresses that are being dialled. */
  readonly #contacts = new Map<string, Promise<PeerIdentity>>()
  readonly #proofs: Proofs
  readonly #stats = {
    sentBytes: 0, receivedBytes: 0, sentPackets: 0, receivedPackets: 0, droppedPackets: 0, requests: 0, failedRequests: 0, dials: 0, failedDials: 0,
    partings: 0,
  }
  readonly #closing = new AbortController()
  #node: Libp2p | null = null
  #mdns: LocalDiscovery | null = null
  #listening: { host: string; port: number } | null = null
  #parting: NodeJS.Timeout | null = null

  constructor(options: TransportOptions) {
    super()
    this.nodeId = options.identity.nodeId
    this.#options = options
    const { processId, deploymentId, region, clusterSecrets, nowMs } = options
    this.#proofs = new Proofs({
      credentials: { nodeId: this.nodeId, processId, deploymentId, region, clusterSecrets },
      refuse: (peer) => this.#refuse(peer),
      proven: (connection, peer) => this.#proven(connection, peer),
      // a dial reports its own failure, with the address that was dialled
      refused: (connection, refusal) => {
        if (connection.direction !== 'inbound') return
        // a stranger that went away, or says nothing, is nobody's problem
        if (refusal.kind !== 'unreachable') this.#problem(connection.remotePeer.toString(), refusal)
      },
      nowMs,
    })
  }

  get listening(): { host: string; port: number } {
    if (this.#listening === null) throw new Error('the transport does not listen yet')
    return this.#listening
  }

  get peers(): ReadonlyMap<NodeId, PeerIdentity> {
    const peers = new Map<NodeId, PeerIdentity>()
    for (const [nodeId, { identity }] of this.#links) if (identity !== null) peers.set(nodeId, identity)
    return peers
  }

  isConnected(nodeId: NodeId): boolean {
    return (this.#links.get(nodeId)?.identity ?? null) !== null
  }

  async start(): Promise<void> {
    const { identity, listen } = this.#options
    const node = await startLibp2p({ identity, listen })
    this.#node = node
    try {
      const bound = parseAddress(node.getMultiaddrs()[0]?.toString() ?? '')
      if (bound === null) throw new Error(`libp2p does not listen on ${listen.host}:${listen.port}`)
      this.#listening = { host: listen.host, port: bound.port }
      node.addEventListener('connection:open', ({ detail }) => {
        if (detail.direction === 'inbound') this.#proofs.await(detail)
        else this.#proofs.expect(detail)
      })
      await node.handle(HANDSHAKE_PROTOCOL, (stream, connection) => this.#proofs.answer(stream, connection), { maxInboundStreams: 2 })
      await node.handle(PACKET_PROTOCOL, (stream, connection) => this.#receivePackets(stream, connection), { maxInboundStreams: 4 })
      this.#mdns = await this.#startMdns()
      this.#parting = setInterval(() => this.#partWithSurplus(), PART_EVERY_MS)
    } catch (error) {
      await node.stop()
      throw error
    }
  }

  async connect(addr: string, signal?: AbortSignal): Promise<PeerIdentity> {
    const address = parseAddress(addr)
    if (address === null) throw this.#problem(addr, new PeerRefusal('protocol', 'is no address of a peer: /ip4/192.0.2.1/udp/7443/quic-v1 is one'))
    if (address.nodeId === this.nodeId || this.#isOwn(addr)) throw this.#problem(addr, ownAddress('is the address of this node itself'))
    const known = address.nodeId === null ? null : this.#links.get(address.nodeId)?.identity ?? null
    if (known !== null) return known
    let dialling = this.#contacts.get(addr)
    if (dialling === undefined) {
      dialling = this.#contact(addr, address.nodeId).finally(() => this.#contacts.delete(addr))
      this.#contacts.set(addr, dialling)
    }
    return signal === undefined ? dialling : withSignal(dialling, signal)
  }

  setAddrs(nodeId: NodeId, addrs: readonly string[] | null): void {
    if (nodeId === this.nodeId) return
    if (addrs !== null) this.#link(nodeId).setAddrs(addrs)
    else {
      this.#links.get(nodeId)?.setAddrs([])
      this.#dropIdle(nodeId)
    }
  }

  open(nodeId: NodeId): void {
    if (this.#closing.signal.aborted) return
    const link = this.#link(nodeId)
    // so that it is not parted with just before
    link.used()
    link.connection().catch(() => {}) // told through `problem`
  }

  send(nodeId: NodeId, packet: Uint8Array): void {
    if (packet.length > MAX_PACKET_BYTES) throw new RangeError(`a packet of ${packet.length} bytes, at most ${MAX_PACKET_BYTES} are allowed`)
    if (!this.#closing.signal.aborted) this.#link(nodeId).packets.send(packet)
  }

  async request(nodeId: NodeId, protocol: string, body: Uint8Array, options: RequestOptions = {}): Promise<Uint8Array> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? REQUEST_TIMEOUT_MS)
    const signal = AbortSignal.any([timeout, this.#closing.signal, ...(options.signal === undefined ? [] : [options.signal])])
    this.#stats.requests++
    try {
      const link = this.#link(nodeId)
      const connection = await withSignal(link.connection(), signal)
      link.used()
      const answer = await sendRequest(connection, protocol, body, signal)
      this.#stats.sentBytes += body.length
      this.#stats.receivedBytes += answer.length
      return answer
    } catch (error) {
      this.#stats.failedRequests++
      if (timeout.aborted) throw new Error(`${protocol}: ${nodeId} did not answer within ${options.timeoutMs ?? REQUEST_TIMEOUT_MS} ms`, { cause: error })
      throw error
    }
  }

  async handle(protocol: string, handler: RequestHandler): Promise<void> {
    await this.#libp2p.handle(requestProtocol(protocol), async (stream, connection) => {
      const peer = await this.#peerBehind(stream, connection)
      if (peer === null) return
      this.#links.get(peer.nodeId)?.used()
      try {
        const { receivedBytes, sentBytes, failure } = await answerRequest(stream, peer.nodeId, handler)
        this.#stats.receivedBytes += receivedBytes
        this.#stats.sentBytes += sentBytes
        if (failure !== null) this.#options.logger.warn({ err: failure, peer: peer.nodeId, protocol }, 'a request of a peer failed')
      } catch (error) {
        this.#options.logger.debug({ err: error, peer: peer.nodeId, protocol }, 'a peer gave up its request')
        stream.abort(error as Error)
      }
    }, { maxInboundStreams: MAX_REQUESTS_PER_PEER, maxOutboundStreams: MAX_REQUESTS_PER_PEER })
  }

  stats(): TransportStats {
    return { ...this.#stats, peers: this.peers.size }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(new Error('the transport is closed'))
    if (this.#parting !== null) clearInterval(this.#parting)
    await this.#mdns?.stop()
    for (const link of this.#links.values()) link.closeAll()
    await this.#node?.stop()
  }

  // ------------------------------------------------------------------------------------------------------ dialling

  get #libp2p(): Libp2p {
    if (this.#node === null) throw new Error('the transport has not been started')
    return this.#node
  }

  async #dialLink(link: PeerLink): Promise<Connection> {
    const addrs = link.addrs.filter((addr) => !this.#isOwn(addr))
    try {
      if (addrs.length === 0) throw new PeerRefusal('unreachable', 'has no address')
      const { connection } = await this.#dialConnection(addrs, link.nodeId)
      return connection
    } catch (error) {
      throw this.#problem(link.nodeId, error as PeerRefusal)
    }
  }

  async #contact(addr: string, nodeId: NodeId | null): Promise<PeerIdentity> {
    try {
      return (await this.#dialConnection([addr], nodeId)).peer
    } catch (error) {
      throw this.#problem(addr, error as PeerRefusal)
    }
  }

  /** @throws PeerRefusal */
  async #dialConnection(addrs: readonly string[], nodeId: NodeId | null): Promise<{ connection: Connection; peer: PeerIdentity }> {
    const signal = AbortSignal.any([AbortSignal.timeout(3 * DIAL_TIMEOUT_MS + PROOF_TIMEOUT_MS), this.#closing.signal])
    this.#stats.dials++
    try {
      const connection = await dial(this.#libp2p, addrs, nodeId, signal)
      return { connection, peer: await withSignal(this.#proofs.prove(connection, signal), signal) }
    } catch (error) {
      this.#stats.failedDials++
      throw error instanceof PeerRefusal ? error : new PeerRefusal('unreachable', `the dial was given up: ${(error as Error).message}`, { cause: error })
    }
  }

  /** Tells the refusal, unless this node is ending, and gives it back to be thrown. */
  #problem(peer: string, refusal: PeerRefusal): PeerRefusal {
    if (!this.#closing.signal.aborted) this.emit('problem', peer, refusal)
    return refusal
  }

  #isOwn(addr: string): boolean {
    const plain = addr.replace(/\/p2p\/.*$/, '')
    const { listen } = this.#options
    return this.#options.publicAddrs.includes(plain) || plain === formatAddress(listen.host, this.listening.port)
  }

  // ---------------------------------------------------------------------------------------------------- connections

  #proven(connection: Connection, peer: PeerIdentity): void {
    if (this.#closing.signal.aborted || connection.status !== 'open') return
    this.#link(peer.nodeId).add(connection, peer, () => {
      if (!this.#closing.signal.aborted) this.emit('disconnected', peer.nodeId)
      this.#dropIdle(peer.nodeId)
    })
    this.emit('connected', peer)
  }

  #partWithSurplus(): void {
    const connected = [...this.#links.values()].filter((link) => link.connected)
    for (const link of surplusPeers(connected, this.#options.bounds ?? { kept: KEPT_PEERS, unusedMs: UNUSED_PEER_MS }, performance.now())) {
      this.#stats.partings++
      link.closeAll()
    }
  }

  #refuse(peer: PeerIdentity): PeerRefusal | null {
    if (this.#links.get(peer.nodeId)?.wasReplaced(peer.processId) !== true) return null
    return new PeerRefusal('duplicate-node', 'lives twice: two processes answer with its node id. Was its ANVIL_STATE_DIR copied to another host?')
  }

  async #receivePackets(stream: Stream, connection: Connection): Promise<void> {
    const peer = await this.#peerBehind(stream, connection)
    if (peer === null) return
    const decoder = new FrameDecoder(MAX_PACKET_BYTES)
    stream.addEventListener('message', ({ data }) => {
      this.#links.get(peer.nodeId)?.used()
      try {
        for (const packet of decoder.push(data.subarray())) {
          this.#stats.receivedPackets++
          this.#stats.receivedBytes += packet.length
          this.emit('packet', peer.nodeId, packet)
        }
      } catch (error) {
        stream.abort(error as Error)
        this.#problem(peer.nodeId, new PeerRefusal('protocol', `sends what is no packet: ${(error as Error).message}`, { cause: error }))
      }
    })
  }

  /** Null, and the stream is cut, for a connection that has not proven itself. */
  async #peerBehind(stream: Stream, connection: Connection): Promise<PeerIdentity | null> {
    const peer = await this.#proofs.peerOf(connection)
    if (peer === null) stream.abort(new Error('the connection has not proven the secret of the cluster'))
    return peer
  }

  #link(nodeId: NodeId): PeerLink {
    let link = this.#links.get(nodeId)
    if (link === undefined) {
      const made = new PeerLink(nodeId, this.nodeId, {
        sent: (bytes) => {
          made.used()
          this.#stats.sentPackets++
          this.#stats.sentBytes += bytes
        },
        dropped: (packets) => {
          this.#stats.droppedPackets += packets
        },
        dial: (given) => this.#dialLink(given),
      })
      this.#links.set(nodeId, made)
      link = made
    }
    return link
  }

  #dropIdle(nodeId: NodeId): void {
    if (this.#links.get(nodeId)?.idle === true) this.#links.delete(nodeId)
  }

  async #startMdns(): Promise<LocalDiscovery | null> {
    const { mdns, publicAddrs, deploymentId, region, logger } = this.#options
    if (mdns === null) return null
    const { host, port } = this.listening
    const addrs = (publicAddrs.length > 0 ? publicAddrs : [formatAddress(host, port)]).map((addr) => `${addr}/p2p/${this.nodeId}`)
    return startMdns({ ...mdns, addrs, cluster: `${deploymentId}/${region}`, logger, found: (found) => this.emit('discovered', found) })
  }
}

const ownAddress = (text: string): PeerRefusal => new PeerRefusal('own-address', text)
