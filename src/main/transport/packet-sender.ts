/** Packets to one peer over one long-lived stream. Gossip tolerates loss: what waits too long, or too much of it, is dropped. */
import type { Connection, Stream } from '@libp2p/interface'
import { frame } from './frames.ts'
import { MAX_WAITING_PACKETS } from './limits.ts'

export const PACKET_PROTOCOL = '/anvil/packets/1'

/** Older packets are dropped when their turn comes: probes are over by then, and news has gone other ways. */
const PACKET_LIFE_MS = 5_000
const OPEN_STREAM_MS = 5_000

export interface PacketSenderOptions {
  /** A proven connection to send over; dials when there is none. Rejects when the peer cannot be had. */
  connection(): Promise<Connection>
  sent(bytes: number): void
  dropped(packets: number): void
}

export class PacketSender {
  readonly #options: PacketSenderOptions
  #waiting: { packet: Uint8Array; atMs: number }[] = []
  #stream: Stream | null = null
  #sending = false

  constructor(options: PacketSenderOptions) {
    this.#options = options
  }

  /** Packets have not gone out yet. */
  get sending(): boolean {
    return this.#sending
  }

  send(packet: Uint8Array): void {
    this.#waiting.push({ packet, atMs: performance.now() })
    if (this.#waiting.length > MAX_WAITING_PACKETS) {
      this.#waiting.shift()
      this.#options.dropped(1)
    }
    if (!this.#sending) void this.#sendAll()
  }

  /** Gives up the stream: the connection under it is gone, or a better one is there. */
  reset(): void {
    this.#stream?.abort(new Error('the connection is given up'))
    this.#stream = null
  }

  async #sendAll(): Promise<void> {
    this.#sending = true
    let unsent = 0
    try {
      for (let next = this.#next(); next !== null; next = this.#next()) {
        unsent = 1
        const stream = await this.#open()
        stream.send(frame(next))
        unsent = 0
        this.#options.sent(next.length)
        if (stream.writableNeedsDrain) await drained(stream)
      }
    } catch {
      // The peer is away, slow or gone, which the dial has reported: what was waiting is lost, as the core expects.
      this.reset()
      this.#options.dropped(unsent + this.#waiting.length)
      this.#waiting = []
    } finally {
      this.#sending = false
    }
  }

  #next(): Uint8Array | null {
    const oldestMs = performance.now() - PACKET_LIFE_MS
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (next.atMs >= oldestMs) return next.packet
      this.#options.dropped(1)
    }
    return null
  }

  async #open(): Promise<Stream> {
    if (this.#stream !== null && this.#stream.status === 'open') return this.#stream
    const connection = await this.#options.connection()
    this.#stream = await connection.newStream(PACKET_PROTOCOL, { signal: AbortSignal.timeout(OPEN_STREAM_MS) })
    return this.#stream
  }
}

/** Resolves when the stream takes more. `stream.onDrain()` answers only the first time. */
function drained(stream: Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      stream.removeEventListener('drain', onDrain)
      stream.removeEventListener('close', onClose)
      settle()
    }
    const onDrain = (): void => end(resolve)
    const onClose = (): void => end(() => reject(new Error('the stream was closed')))
    stream.addEventListener('drain', onDrain)
    stream.addEventListener('close', onClose)
  })
}
