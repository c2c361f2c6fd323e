/**
 * Messages that exceed a packet, each as a request of its own. A table of ten thousand members is some fifty of them, and a
 * peer takes only a few requests at a time, so the others wait here.
 */
import type { NodeId } from '../../shared/ids.ts'

/** To one peer; it takes MAX_REQUESTS_PER_PEER, and others than gossip make some too. */
export const REQUESTS_AT_ONCE = 4
/** Waiting for one peer: twice what the core gives as one answer. More is dropped; the next comparison of tables brings it. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024

interface Peer {
  readonly waiting: Uint8Array[]
  waitingBytes: number
  sending: number
}

export interface LargeMessagesOptions {
  request(to: NodeId, bytes: Uint8Array): Promise<unknown>
  /** Not delivered; whatever else waited for the peer is dropped with it. */
  lost(to: NodeId, error: unknown): void
}

export class LargeMessages {
  readonly #options: LargeMessagesOptions
  readonly #peers = new Map<NodeId, Peer>()

  constructor(options: LargeMessagesOptions) {
    this.#options = options
  }

  send(to: NodeId, bytes: Uint8Array): void {
    let peer = this.#peers.get(to)
    if (peer === undefined) this.#peers.set(to, (peer = { waiting: [], waitingBytes: 0, sending: 0 }))
    if (peer.waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#options.lost(to, new Error(`${peer.waitingBytes} bytes wait for this peer already`))
      return
    }
    peer.waiting.push(bytes)
    peer.waitingBytes += bytes.length
    if (peer.sending < REQUESTS_AT_ONCE) void this.#sendAll(to, peer)
  }

  async #sendAll(to: NodeId, peer: Peer): Promise<void> {
    peer.sending++
    try {
      for (let next = peer.waiting.shift(); next !== undefined; next = peer.waiting.shift()) {
        peer.waitingBytes -= next.length
        await this.#options.request(to, next)
      }
    } catch (error) {
      peer.waiting.length = 0
      peer.waitingBytes = 0
      this.#options.lost(to, error)
    } finally {
      peer.sending--
      if (peer.sending === 0 && peer.waiting.length === 0) this.#peers.delete(to)
    }
  }
}
