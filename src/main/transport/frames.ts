/** Whole messages over a stream of bytes: a length of four bytes, big-endian, then that many bytes. */
import type { Stream } from '@libp2p/interface'

const HEADER_BYTES = 4

/** What a peer sent is not a message. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

export function frame(...parts: Uint8Array[]): Uint8Array {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0)
  const out = Buffer.allocUnsafe(HEADER_BYTES + bytes)
  out.writeUInt32BE(bytes, 0)
  let at = HEADER_BYTES
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Cuts what arrives into messages. Holds at most one unfinished message of `maxBytes`. */
export class FrameDecoder {
  readonly #maxBytes: number
  #chunks: Uint8Array[] = []
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether a message has begun and not ended. */
  get unfinished(): boolean {
    return this.#bytes > 0
  }

  /** The messages that this chunk completes. @throws FrameError when one is longer than allowed */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const frames: Uint8Array[] = []
    while (this.#bytes >= HEADER_BYTES) {
      const length = Buffer.from(this.#peekHeader()).readUInt32BE(0)
      if (length > this.#maxBytes) throw new FrameError(`a message of ${length} bytes, at most ${this.#maxBytes} are allowed`)
      if (this.#bytes < HEADER_BYTES + length) break
      frames.push(this.#take(HEADER_BYTES + length).subarray(HEADER_BYTES))
    }
    return frames
  }

  #peekHeader(): Uint8Array {
    const first = this.#chunks[0]!
    if (first.length >= HEADER_BYTES) return first.subarray(0, HEADER_BYTES)
    this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!.subarray(0, HEADER_BYTES)
  }

  #take(bytes: number): Uint8Array {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    const rest = all.subarray(bytes)
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#bytes = rest.length
    return all.subarray(0, bytes)
  }
}

/** Messages in turn, for handshakes and requests. */
export interface FrameChannel {
  send(bytes: Uint8Array): void
  /** The next message; null when the other side has ended. @throws FrameError, or what the signal or the connection gives */
  receive(signal: AbortSignal): Promise<Uint8Array | null>
  /** No more messages from this side. */
  end(): Promise<void>
  abort(error: Error): void
}

/** How many messages may wait to be received: nobody sends more than one ahead. */
const MAX_WAITING_FRAMES = 4

/** A channel over a libp2p stream. Nothing may read the stream besides it. */
export function frameChannel(stream: Stream, maxBytes: number): FrameChannel {
  const decoder = new FrameDecoder(maxBytes)
  const waiting: Uint8Array[] = []
  let ended = false
  let failure: Error | null = null
  let wake: () => void = () => {}

  const fail = (error: Error): void => {
    failure ??= error
    wake()
  }
  stream.addEventListener('message', ({ data }) => {
    try {
      waiting.push(...decoder.push(data.subarray()))
      if (waiting.length > MAX_WAITING_FRAMES) throw new FrameError('more messages than were asked for')
    } catch (error) {
      fail(error as Error)
      stream.abort(error as Error)
    }
    wake()
  })
  stream.addEventListener('end', () => {
    ended = true
    wake()
  })
  stream.addEventListener('close', (event) => {
    ended = true
    if (event.error !== undefined) fail(event.error)
    wake()
  })

  return {
    send: (bytes) => void stream.send(frame(bytes)),
    receive: async (signal) => {
      for (;;) {
        const next = waiting.shift()
        if (next !== undefined) return next
        if (failure !== null) throw failure
        // everything may have arrived before this channel was made
        if (ended || stream.readableEnded) {
          if (decoder.unfinished) throw new FrameError('the message was cut off')
          return null
        }
        signal.throwIfAborted()
        await new Promise<void>((resolve, reject) => {
          const aborted = (): void => reject(signal.reason as Error)
          signal.addEventListener('abort', aborted, { once: true })
          wake = () => {
            signal.removeEventListener('abort', aborted)
            resolve()
          }
        })
      }
    },
    end: () => stream.close(),
    abort: (error) => stream.abort(error),
  }
}
