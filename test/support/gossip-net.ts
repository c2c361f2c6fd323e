/** A few nodes over a net without loss, for the unit tests; test/sim has the large one. */
import type { NodeId } from '../../src/shared/ids.ts'
import type { MemberRecord, MemberState } from '../../src/main/membership/contract.ts'
import type { Output, SwimConfig } from '../../src/main/gossip/contract.ts'
import { encodeMessage } from '../../src/main/gossip/message-codec.ts'
import { Swim } from '../../src/main/gossip/swim.ts'
import { mulberry32 } from './random.ts'

const DELAY_MS = 5
const STEP_MS = 5

export interface NetNode {
  swim: Swim
  log: Output[]
  running: boolean
  /** Held back while it is paused. */
  mail: { from: NodeId; bytes: Uint8Array }[]
  paused: boolean
  /** Nothing reaches it. */
  deaf: boolean
  /** Where a peer last spoke from: its open connection. */
  peers: Map<NodeId, number>
  /** Of its name, which a double shares. */
  number: number
}

export class Net {
  nowMs = 1_700_000_000_000
  readonly nodes: NetNode[] = []
  /** Between which two nothing passes. */
  cut: ((a: number, b: number) => boolean) | null = null
  private readonly random: () => number
  private flying: { atMs: number; to: number; sender: number; bytes: Uint8Array }[] = []
  private readonly config: Partial<SwimConfig>

  constructor(seed: number, config: Partial<SwimConfig> = {}) {
    this.random = mulberry32(seed)
    this.config = config
  }

  /** @param number another's name, for its double */
  add(seeds: string[], part: Partial<MemberRecord> = {}, number = this.nodes.length): NetNode {
    const node: NetNode = { swim: this.swim(number, part), log: [], running: true, mail: [], paused: false, deaf: false, peers: new Map(), number }
    this.nodes.push(node)
    node.swim.join(seeds, this.nowMs)
    return node
  }

  restart(index: number, seeds: string[], part: Partial<MemberRecord>): void {
    const node = this.nodes[index]!
    node.swim = this.swim(node.number, part)
    node.log = []
    node.running = true
    node.peers.clear()
    node.swim.join(seeds, this.nowMs)
  }

  private swim(number: number, part: Partial<MemberRecord>): Swim {
    const self = recordOf(number, { incarnation: this.nowMs, ...part })
    return new Swim({ self, config: this.config, random: this.random, nowMs: this.nowMs, ...fakeKeys(number) })
  }

  /** kill -9 */
  stop(index: number): void {
    this.nodes[index]!.running = false
  }

  pause(index: number): void {
    this.nodes[index]!.paused = true
  }

  resume(index: number): void {
    const node = this.nodes[index]!
    node.paused = false
    for (const { from, bytes } of node.mail.splice(0)) node.swim.receive(bytes, from, this.nowMs)
  }

  leave(index: number): void {
    this.nodes[index]!.swim.leave(this.nowMs)
  }

  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += STEP_MS
      const due = this.flying.filter(({ atMs }) => atMs <= this.nowMs)
      this.flying = this.flying.filter(({ atMs }) => atMs > this.nowMs)
      for (const { to, sender, bytes } of due) this.deliver(this.nodes[to]!, sender, bytes)
      this.nodes.forEach((node, index) => this.step(node, index))
    }
  }

  states(node: NetNode): Record<string, MemberState> {
    return Object.fromEntries([...node.swim.members()].map(({ nodeId, state }) => [nodeId, state] as const).sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  problems(at: number): string[] {
    return this.nodes[at]!.log.filter((output) => output.kind === 'problem').map(({ problem }) => problem)
  }

  changes(at: number, of: string): Extract<Output, { kind: 'change' }>[] {
    return this.nodes[at]!.log.filter((output) => output.kind === 'change').filter(({ member }) => member.nodeId === of)
  }

  private deliver(node: NetNode, sender: number, bytes: Uint8Array): void {
    if (!node.running || node.deaf) return
    const from = nodeName(this.nodes[sender]!.number)
    node.peers.set(from, sender)
    if (node.paused) node.mail.push({ from, bytes })
    else node.swim.receive(bytes, from, this.nowMs)
  }

  private step(node: NetNode, index: number): void {
    if (!node.running || node.paused) return
    if (node.swim.nextTickMs <= this.nowMs) node.swim.tick(this.nowMs)
    for (const output of node.swim.drain()) {
      node.log.push(output)
      if (output.kind !== 'send' && output.kind !== 'contact') continue
      const addr = output.kind === 'contact' ? output.addr : output.addrs[0]
      const to = (output.kind === 'send' ? node.peers.get(output.to) : undefined) ?? Number(addr?.split('-')[1])
      if (this.nodes[to] === undefined || this.cut?.(index, to) === true) continue
      this.flying.push({ atMs: this.nowMs + DELAY_MS, to, sender: index, bytes: encodeMessage(output.message) })
    }
  }
}

export const nodeName = (index: number): NodeId => `node-${index}` as NodeId

export function recordOf(index: number, part: Partial<MemberRecord> = {}): MemberRecord {
  return {
    nodeId: nodeName(index),
    processId: `process-${index}`,
    incarnation: 1,
    region: 'local',
    zone: '',
    addrs: [`addr-${index}`],
    grpcAddr: '',
    version: '0.1.0',
    startedMs: 1_700_000_000_000,
    drives: [],
    ...part,
  }
}

/** Stand-ins for Ed25519: a signature is its signer's name. */
export function fakeKeys(index: number): { sign(body: Uint8Array): Uint8Array; verify(nodeId: NodeId, body: Uint8Array, signature: Uint8Array): boolean } {
  return {
    sign: () => Buffer.from(nodeName(index).padEnd(64)),
    verify: (nodeId, _body, signature) => Buffer.from(signature).toString().trimEnd() === nodeId,
  }
}
