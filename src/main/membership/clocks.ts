/** Compares wall clocks with peers: one that is far off is shown. Nothing rests on it, but people and signatures do. */
import type { NodeId } from '../../shared/ids.ts'
import type { PeerIdentity, Transport } from '../transport/contract.ts'
import { MAX_CLOCK_DIFFERENCE_MS } from '../transport/limits.ts'
import type { Problems } from './problems.ts'

const PROTOCOL = 'clock'
/** Connections live long: one peer, and those that were off, are asked again this often. */
const EVERY_MS = 30_000
const ANSWER_BYTES = 8

export class Clocks {
  readonly #transport: Transport
  readonly #problems: Problems
  readonly #nowMs: () => number
  #timer: NodeJS.Timeout | null = null

  constructor(transport: Transport, problems: Problems, nowMs: () => number) {
    this.#transport = transport
    this.#problems = problems
    this.#nowMs = nowMs
  }

  async start(): Promise<void> {
    await this.#transport.handle(PROTOCOL, () => {
      const answer = Buffer.alloc(ANSWER_BYTES)
      answer.writeDoubleBE(this.#nowMs())
      return answer
    })
    this.#timer = setInterval(() => void this.#ask(), EVERY_MS)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  judge({ nodeId, clockAheadMs, uncertaintyMs }: Pick<PeerIdentity, 'nodeId' | 'clockAheadMs' | 'uncertaintyMs'>): void {
    const apartMs = Math.abs(clockAheadMs) - uncertaintyMs
    if (apartMs <= MAX_CLOCK_DIFFERENCE_MS) return this.#problems.clear(nodeId, 'clock')
    const text = `has a clock that is ${(apartMs / 1000).toFixed(1)} s ${clockAheadMs > 0 ? 'ahead of' : 'behind'} the one of this node (more than ${MAX_CLOCK_DIFFERENCE_MS / 1000} s): one of the two needs time synchronisation`
    this.#problems.report(nodeId, 'clock', text)
  }

  async #ask(): Promise<void> {
    const peers = [...this.#transport.peers.keys()]
    const asked = new Set(peers.filter((nodeId) => this.#problems.has(nodeId, 'clock')))
    const other = peers[Math.floor(Math.random() * peers.length)]
    if (other !== undefined) asked.add(other)
    await Promise.all([...asked].map((nodeId) => this.#askOne(nodeId)))
  }

  async #askOne(nodeId: NodeId): Promise<void> {
    const sentMs = this.#nowMs()
    let answer
    try {
      answer = await this.#transport.request(nodeId, PROTOCOL, new Uint8Array())
    } catch {
      return // gossip finds out what is wrong with a peer that does not answer
    }
    const heardMs = this.#nowMs()
    if (answer.length < ANSWER_BYTES) return
    const theirsMs = Buffer.from(answer).readDoubleBE(0)
    if (Number.isFinite(theirsMs)) this.judge({ nodeId, clockAheadMs: theirsMs - (sentMs + heardMs) / 2, uncertaintyMs: Math.abs(heardMs - sentMs) / 2 })
  }
}
