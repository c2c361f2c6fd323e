/**
 * A cluster of gossip cores in simulated time: one queue of events in milliseconds, one seed for all chance, messages handed
 * over as objects and counted at their exact encoded length. Small messages are datagrams that may be lost; large ones go
 * over a stream, where a loss costs a retransmission.
 */
import { Swim } from '../../src/main/gossip/swim.ts'
import type { Message, Output, SwimConfig } from '../../src/main/gossip/contract.ts'
import { signRecord } from '../../src/main/gossip/record-codec.ts'
import { NodeNumbers } from '../../src/main/gossip/node-numbers.ts'
import { Table } from '../../src/main/gossip/table.ts'
import { viewOf } from '../../src/main/gossip/view.ts'
import type { DriveId, NodeId } from '../../src/shared/ids.ts'
import type { MemberRecord } from '../../src/main/membership/contract.ts'
import { mulberry32 } from '../support/random.ts'
import { TrafficMeter } from './traffic.ts'

export interface SimNode {
  readonly index: number
  readonly id: NodeId
  readonly swim: Swim
  /** Its own, to be looked at. */
  readonly table: Table
  running: boolean
  left: boolean
  /** Starved of CPU, now and then: outside what the others are judged by. */
  slow: boolean
  /** What it does, and what reaches it, waits until then. */
  blockedUntilMs: number
  /** It runs, but what it sends and what reaches it waits until then. */
  cutUntilMs: number
  outbox: (() => void)[]
  mail: { from: SimNode; message: Message }[]
  tickAtMs: number
  readonly tick: Event
  startedMs: number
  /** When it was killed or had left. */
  endedMs: number
  sentMessages: number
  sentBytes: number
}

type Event = { kind: 'message'; from: SimNode; to: SimNode; message: Message } | { kind: 'tick'; at: number } | { kind: 'do'; what: () => void }

export interface NetworkOptions {
  seed: number
  /** Of datagrams, 0 to 1. */
  loss: number
  config?: Partial<SwimConfig>
  /** Nodes that know each other at the beginning. */
  nodes: number
  onOutput: (node: SimNode, output: Output) => void
}

const STREAM_RETRY_MS = 200
const STREAM_TRIES = 6
/** Entries sent to so young a node are the table that it came for. */
const NEWCOMER_MS = 1000
/** What the sockets of a node that does not run hold for it. */
const MAX_MAIL = 4096

export class Network {
  nowMs = 0
  readonly nodes: SimNode[] = []
  readonly random: () => number
  readonly sent = new TrafficMeter()
  private readonly byId = new Map<NodeId, SimNode>()
  private readonly queue: (Event[] | undefined)[] = []
  private readonly numbers = new NodeNumbers(true)
  private readonly options: NetworkOptions
  private cut: ((a: SimNode, b: SimNode) => boolean) | null = null

  constructor(options: NetworkOptions) {
    this.options = options
    this.random = mulberry32(options.seed)
    const all = new Table(this.numbers)
    for (let i = 0; i < options.nodes; i++) all.set(viewOf(signRecord(recordOf(i, 1), false, sign), 'alive'), 0, 0)
    for (let i = 0; i < options.nodes; i++) this.start(all.fork())
  }

  /** A node that knows nobody but one address. */
  join(seed: SimNode): SimNode {
    const node = this.start(new Table(this.numbers))
    node.swim.join([addrOf(seed.index)], this.nowMs)
    this.after(node)
    return node
  }

  at(atMs: number, what: () => void): void {
    this.push(atMs, { kind: 'do', what })
  }

  kill(node: SimNode): void {
    node.running = false
    node.endedMs = this.nowMs
    node.mail = []
  }

  leave(node: SimNode): void {
    node.left = true
    node.swim.leave(this.nowMs)
    this.after(node)
    this.at(this.nowMs + 1500, () => this.kill(node))
  }

  /** SIGSTOP, or no CPU. Timers first, then the mail, as an event loop does it. */
  block(node: SimNode, ms: number): void {
    node.blockedUntilMs = this.nowMs + ms
    this.at(node.blockedUntilMs, () => this.wake(node))
  }

  /** Its timers run; its messages wait, in both directions. */
  delay(node: SimNode, ms: number): void {
    node.cutUntilMs = this.nowMs + ms
    this.at(node.cutUntilMs, () => {
      if (node.cutUntilMs > this.nowMs) return
      for (const send of node.outbox.splice(0)) send()
      for (const { from, message } of node.mail.splice(0)) this.deliver(node, from, message)
    })
  }

  /** Messages between two nodes of which this holds are lost. */
  partition(separates: ((a: SimNode, b: SimNode) => boolean) | null): void {
    this.cut = separates
  }

  run(untilMs: number): void {
    for (; this.nowMs <= untilMs; this.nowMs++) {
      const events = this.queue[this.nowMs]
      if (events === undefined) continue
      // Grows while it is walked.
      for (let i = 0; i < events.length; i++) this.handle(events[i]!)
      this.queue[this.nowMs] = undefined
    }
  }

  private start(table: Table): SimNode {
    const index = this.nodes.length
    const self = recordOf(index, 1 + this.nowMs)
    const swim = new Swim({ self, config: this.options.config, random: this.random, nowMs: this.nowMs, sign, verify }, table)
    const node: SimNode = {
      tick: { kind: 'tick', at: index },
      index,
      id: self.nodeId,
      swim,
      table,
      running: true,
      left: false,
      slow: false,
      blockedUntilMs: 0,
      cutUntilMs: 0,
      outbox: [],
      mail: [],
      tickAtMs: Infinity,
      startedMs: this.nowMs,
      endedMs: Infinity,
      sentMessages: 0,
      sentBytes: 0,
    }
    this.nodes.push(node)
    this.byId.set(node.id, node)
    this.after(node)
    return node
  }

  private handle(event: Event): void {
    switch (event.kind) {
      case 'do':
        event.what()
        return
      case 'tick':
        this.tick(this.nodes[event.at]!)
        return
      case 'message':
        this.deliver(event.to, event.from, event.message)
    }
  }

  private tick(node: SimNode): void {
    if (!node.running || node.tickAtMs !== this.nowMs) return
    node.tickAtMs = Infinity
    if (node.blockedUntilMs > this.nowMs) return
    node.swim.tick(this.nowMs)
    this.after(node)
  }

  private deliver(node: SimNode, from: SimNode, message: Message): void {
    if (!node.running) return
    if (node.blockedUntilMs > this.nowMs || node.cutUntilMs > this.nowMs) {
      if (node.mail.length < MAX_MAIL) node.mail.push({ from, message })
      return
    }
    node.swim.receive(message, from.id, this.nowMs)
    this.after(node)
  }

  private wake(node: SimNode): void {
    if (!node.running || node.blockedUntilMs > this.nowMs) return
    node.swim.tick(this.nowMs)
    this.after(node)
    for (const { from, message } of node.mail.splice(0)) this.deliver(node, from, message)
  }

  /** Sends what the node wants sent, and arranges for its next tick. */
  private after(node: SimNode): void {
    for (const output of node.swim.drain()) {
      if (output.kind === 'send') this.send(node, this.byId.get(output.to), output.message, output.large)
      else if (output.kind === 'contact') this.send(node, this.nodes[indexOf(output.addr)], output.message, true)
      else if (output.kind !== 'expect') this.options.onOutput(node, output)
    }
    const tickAtMs = Math.max(this.nowMs, Math.ceil(node.swim.nextTickMs))
    if (tickAtMs >= node.tickAtMs || tickAtMs === Infinity) return
    node.tickAtMs = tickAtMs
    this.push(tickAtMs, node.tick)
  }

  private send(from: SimNode, to: SimNode | undefined, message: Message, isStream: boolean): void {
    from.sentMessages++
    from.sentBytes += this.sent.add(message, to !== undefined && to.startedMs > 0 && this.nowMs - to.startedMs < NEWCOMER_MS)
    if (from.cutUntilMs > this.nowMs) {
      if (from.outbox.length < MAX_MAIL) from.outbox.push(() => this.transmit(from, to, message, isStream))
    } else this.transmit(from, to, message, isStream)
  }

  private transmit(from: SimNode, to: SimNode | undefined, message: Message, isStream: boolean): void {
    if (to === undefined || !to.running || this.cut?.(from, to) === true) return
    let delayMs = 1 + Math.floor(3 * this.random())
    if (this.options.loss > 0) {
      let tries = 1
      while (this.random() < this.options.loss) {
        if (!isStream || ++tries > STREAM_TRIES) return
        delayMs += STREAM_RETRY_MS * 2 ** (tries - 2)
      }
    }
    this.push(this.nowMs + delayMs, { kind: 'message', from, to, message })
  }

  private push(atMs: number, event: Event): void {
    const bucket = this.queue[atMs]
    if (bucket === undefined) this.queue[atMs] = [event]
    else bucket.push(event)
  }
}

const SIGNATURE = new Uint8Array(64)
const sign = (): Uint8Array => SIGNATURE
const verify = (): boolean => true

/** As long as a real peer id's. */
const idOf = (index: number): NodeId => `12D3KooW${String(index).padStart(44, 'x')}` as NodeId
const addrOf = (index: number): string => `/ip4/10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/udp/7443/quic-v1`

function indexOf(addr: string): number {
  const [a, b, c] = addr.split('/')[2]!.split('.').slice(1).map(Number)
  return (a! << 16) | (b! << 8) | c!
}

function recordOf(index: number, incarnation: number): MemberRecord {
  return {
    nodeId: idOf(index),
    processId: `process-${index}`,
    incarnation: 1_700_000_000_000 + incarnation,
    region: 'europe-west-1',
    zone: `zone-${index % 3}`,
    addrs: [addrOf(index)],
    grpcAddr: `http://10.0.0.1:50051`,
    version: '0.1.0',
    startedMs: 1_700_000_000_000,
    drives: [0, 1].map((drive) => ({ driveId: String(2 * index + drive).padStart(32, '0') as DriveId, state: 'online' as const, totalBytes: 4e12, freeBytes: 1e12 })),
  }
}
