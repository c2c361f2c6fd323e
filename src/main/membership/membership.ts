/**
 * Drives the SWIM core with real time, real peers and this node's key. The core decides; this file moves what goes in and
 * comes out.
 */
import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeId } from '../../shared/ids.ts'
import type { Message, Output, SwimConfig, SwimCore } from '../gossip/contract.ts'
import { encodeMessage } from '../gossip/message-codec.ts'
import { Swim } from '../gossip/swim.ts'
import type { NodeRecord } from '../metadata/contract.ts'
import type { Logger } from '../observability/logger.ts'
import { PeerRefusal, type Transport } from '../transport/contract.ts'
import { signedBy, type NodeIdentity } from '../transport/identity.ts'
import { Clocks } from './clocks.ts'
import type { ClusterEvent, Member, MemberDrive, MemberRecord, Membership, MembershipEvents, MemberState, PeerProblem } from './contract.ts'
import { Discoveries } from './discoveries.ts'
import { LargeMessages } from './large-messages.ts'
import { watchLoopLag } from './loop-lag.ts'
import { Problems } from './problems.ts'
import { Seeds } from './seeds.ts'

export interface MembershipOptions {
  identity: NodeIdentity
  /** Stays the caller's: close it after `leave`. */
  transport: Transport
  /** What this node says of itself; its incarnation is made here. */
  record: Omit<MemberRecord, 'nodeId' | 'incarnation'>
  /** BOOTSTRAP_ADDRS. */
  bootstrapAddrs: readonly string[]
  /** The nodes that the regional database knows (`metadata.nodes()`). */
  knownNodes(): Promise<Pick<NodeRecord, 'nodeId' | 'addrs' | 'leaseUntilMs'>[]>
  logger: Logger
  /** Other times than the usual, for tests. */
  swim?: Partial<SwimConfig>
  /** Wall clock. @default Date.now */
  wallMs?: () => number
}

/** Messages that do not fit a packet. */
const LARGE_PROTOCOL = 'gossip'
/** Tells a node that another process answers with its id. */
const DOUBLE_PROTOCOL = 'double'
const LAG_EVERY_MS = 500
/** A goodbye is repeated for so long. */
const GOODBYE_MS = 1_000
/** Timers later than this may as well be asked again. */
const MAX_WAIT_MS = 60_000
/** In a cluster of up to so many all connect to all at once; in a larger one when they have something to say. */
const MESH_MEMBERS = 128
const NOTHING = new Uint8Array()

/** Starts to look for the others; this node is its own first member. */
export async function createMembership(options: MembershipOptions): Promise<Membership> {
  const membership = new SwimMembership(options)
  await membership.start()
  return membership
}

class SwimMembership extends EventEmitter<MembershipEvents> implements Membership {
  readonly #options: MembershipOptions
  readonly #transport: Transport
  readonly #core: SwimCore
  readonly #problems: Problems
  readonly #clocks: Clocks
  readonly #seeds: Seeds
  readonly #discoveries = new Discoveries()
  readonly #large: LargeMessages
  #members: Member[] | null = null
  readonly #known = new Set<NodeId>()
  #timer: NodeJS.Timeout | null = null
  #stopLag: () => void = () => {}
  #acting = false
  #leaving: Promise<void> | null = null
  #ended = false

  constructor(options: MembershipOptions) {
    super()
    const { identity, transport, record, logger, swim, bootstrapAddrs, knownNodes } = options
    const wallMs = options.wallMs ?? Date.now
    this.#options = options
    this.#transport = transport
    this.#problems = new Problems(logger)
    this.#clocks = new Clocks(transport, this.#problems, wallMs)
    this.#core = new Swim({
      // above the life before, also when that one refuted often: nobody refutes once a millisecond
      self: { ...record, nodeId: identity.nodeId, incarnation: wallMs() },
      config: swim,
      random: Math.random,
      nowMs: nowMs(),
      sign: identity.sign,
      verify: signedBy,
    })
    this.#large = new LargeMessages({
      request: (to, bytes) => transport.request(to, LARGE_PROTOCOL, bytes),
      // the core counts it as lost and tries again with another member or at its next turn
      lost: (to, error) => logger.debug({ err: error, peer: to }, 'a table was not delivered'),
    })
    this.#seeds = new Seeds({
      nodeId: identity.nodeId, bootstrapAddrs, knownNodes, logger,
      resolved: (addr, failure) => {
        if (failure === null) this.#problems.clear(addr)
        else this.#problems.report(addr, 'unreachable', (failure as Error).message)
      },
      found: (addrs) => this.#do(() => this.#core.join(addrs, nowMs())),
      alone: () => !this.members.some(({ self, state }) => !self && isLive(state)),
    })
  }

  async start(): Promise<void> {
    const transport = this.#transport
    transport.on('packet', this.#onMessage)
    transport.on('connected', (peer) => {
      this.#problems.clear(peer.nodeId, 'unreachable', 'wrong-secret', 'wrong-deployment', 'wrong-region', 'protocol')
      this.#clocks.judge(peer)
    })
    transport.on('problem', (peer, refusal) => this.#onProblem(peer, refusal))
    transport.on('discovered', (addrs) => this.#onDiscovered(addrs))
    await transport.handle(LARGE_PROTOCOL, (from, bytes) => {
      this.#onMessage(from, bytes)
      return NOTHING
    })
    await transport.handle(DOUBLE_PROTOCOL, (from) => {
      this.#problems.report(this.self.nodeId, 'duplicate-node', `lives twice: ${from} was dialled by another live process with the id of this node. Was its ANVIL_STATE_DIR copied to another host?`)
      return NOTHING
    })
    await this.#clocks.start()
    this.#stopLag = watchLoopLag(LAG_EVERY_MS, (lagMs) => this.#do(() => this.#core.reportLag(lagMs, nowMs())))
    this.#do(() => this.#core.tick(nowMs()))
    this.#seeds.start()
  }

  get self(): Member {
    return this.#core.self
  }

  get members(): readonly Member[] {
    this.#members ??= [...this.#core.members()].toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
    return this.#members
  }

  get problems(): readonly PeerProblem[] {
    return this.#problems.list
  }

  get health(): number {
    return this.#core.health
  }

  announceDrives(drives: MemberDrive[]): void {
    this.#do(() => this.#core.updateSelf({ drives }, nowMs()))
  }

  broadcast(event: ClusterEvent): void {
    this.#do(() => this.#core.broadcast(event, nowMs()))
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave()
    return this.#leaving
  }

  async #leave(): Promise<void> {
    this.#seeds.stop()
    this.#clocks.stop()
    this.#stopLag()
    this.#do(() => this.#core.leave(nowMs()))
    if (this.members.some(({ self, state }) => !self && isLive(state))) await sleep(GOODBYE_MS)
    this.#ended = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#transport.off('packet', this.#onMessage)
  }

  // ------------------------------------------------------------------------------------------------- the core's driver

  /** One call into the core, then whatever it wants done. */
  #do(step: () => void): void {
    if (this.#ended) return
    step()
    // a listener of what is being done may have come back here: the loop below takes its outputs too
    if (this.#acting) return
    this.#acting = true
    let changed = false
    try {
      for (let outputs = this.#core.drain(); outputs.length > 0; outputs = this.#core.drain()) {
        for (const output of outputs) changed = this.#act(output) || changed
        if (changed) this.#members = null
      }
    } finally {
      this.#acting = false
    }
    this.#schedule()
    if (changed) this.emit('change')
  }

  #schedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    const waitMs = Math.min(MAX_WAIT_MS, Math.max(0, this.#core.nextTickMs - nowMs()))
    this.#timer = setTimeout(() => this.#do(() => this.#core.tick(nowMs())), waitMs)
  }

  /** @returns whether the members changed */
  #act(output: Output): boolean {
    switch (output.kind) {
      case 'send':
        this.#transport.setAddrs(output.to, output.addrs)
        this.#send(output.to, output.message, output.large)
        return false
      case 'contact':
        void this.#contact(output.addr, output.message)
        return false
      case 'expect':
        this.#transport.setAddrs(output.to, output.addrs)
        this.#transport.open(output.to)
        return false
      case 'change':
        this.#changed(output.member, output.before)
        return true
      case 'forgotten':
        this.#known.delete(output.nodeId)
        this.#transport.setAddrs(output.nodeId, null)
        this.#problems.clear(output.nodeId)
        return true
      case 'event':
        this.emit('event', output.event)
        return false
      case 'problem':
        this.#problems.report(output.peer, output.problem, output.text)
        return false
    }
  }

  #send(to: NodeId, message: Message, large: boolean): void {
    const bytes = encodeMessage(message)
    if (large) this.#large.send(to, bytes)
    else this.#transport.send(to, bytes)
  }

  async #contact(addr: string, message: Message): Promise<void> {
    if (this.#isKnown(addr)) return
    try {
      const { nodeId } = await this.#transport.connect(addr)
      this.#problems.clear(addr)
      if (!this.#ended) this.#send(nodeId, message, true)
    } catch (error) {
      // told through the transport's `problem`; the core tries again
      if (!(error instanceof PeerRefusal)) throw error
    }
  }

  /**
   * An address with a node id, of a member that is known there: the core reaches it by itself, also when it is gone. Dialling
   * it as an address too would only tell the same problem twice.
   */
  #isKnown(addr: string): boolean {
    const [plain = '', nodeId] = addr.split('/p2p/')
    return nodeId !== undefined && this.#core.member(nodeId as NodeId)?.addrs.includes(plain) === true
  }

  #changed(member: Member, before: MemberState | null): void {
    if (member.self) return
    const { nodeId, state, addrs } = member
    this.#known.add(nodeId)
    this.#transport.setAddrs(nodeId, addrs)
    if (state === before) return
    if (state === 'alive') {
      this.#problems.clear(nodeId, 'unreachable')
      // what could not be had under its addresses before
      for (const addr of addrs) for (const form of [addr, `${addr}/p2p/${nodeId}`]) this.#problems.clear(form)
      // one of the two, or their connections would cross
      if (this.self.nodeId < nodeId && this.#known.size <= MESH_MEMBERS) this.#transport.open(nodeId)
    }
    const line = { node: nodeId, addrs, zone: member.zone, version: member.version }
    const { logger } = this.#options
    if (state === 'alive') logger.info(line, before === null ? `node ${nodeId} has joined` : `node ${nodeId} is back: it was ${before}`)
    else if (state === 'suspect') logger.info(line, `node ${nodeId} does not answer and is suspected`)
    else if (state === 'dead') logger.warn(line, `node ${nodeId} is dead: it did not answer anybody`)
    else logger.info(line, `node ${nodeId} has left`)
  }

  // ------------------------------------------------------------------------------------------------- from the transport

  readonly #onMessage = (from: NodeId, bytes: Uint8Array): void => this.#do(() => this.#core.receive(bytes, from, nowMs()))

  #onProblem(peer: string, refusal: PeerRefusal): void {
    if (refusal.kind === 'unreachable' && this.#isNotMissed(peer)) return
    if (refusal.kind === 'duplicate-node' && !this.#problems.has(peer, refusal.kind)) void this.#tellDouble(peer as NodeId)
    this.#problems.report(peer, refusal.kind, refusal.message)
    if (refusal.kind === 'own-address') this.#seeds.isOwn(peer)
    if (refusal.cause !== undefined) this.#options.logger.debug({ err: refusal, peer }, 'why a peer could not be had')
  }

  /** One who said goodbye; or an address of a member that is reached by another one, such as of a family that this host lacks. */
  #isNotMissed(peer: string): boolean {
    const [, nodeId] = peer.split('/p2p/')
    if (nodeId === undefined) return this.#core.member(peer as NodeId)?.state === 'left'
    return ['alive', 'left'].includes(this.#core.member(nodeId as NodeId)?.state ?? '') && this.#isKnown(peer)
  }

  /** The one of two processes that is a peer learns of the other, which has just been refused and knows. */
  async #tellDouble(nodeId: NodeId): Promise<void> {
    if (!this.#transport.isConnected(nodeId)) return
    try {
      await this.#transport.request(nodeId, DOUBLE_PROTOCOL, NOTHING)
    } catch (error) {
      this.#options.logger.debug({ err: error, peer: nodeId }, 'a node could not be told of its double')
    }
  }

  #onDiscovered(addrs: string[]): void {
    this.#do(() => {
      for (const addr of addrs) {
        if (!this.#isKnown(addr) && this.#discoveries.admits(addr, nowMs())) this.#core.contact(addr, nowMs())
      }
    })
  }
}

const isLive = (state: MemberState): boolean => state === 'alive' || state === 'suspect'

/** Milliseconds since the epoch that never go back: a wall clock that is set does not make anybody dead. */
const nowMs = (): number => performance.timeOrigin + performance.now()
