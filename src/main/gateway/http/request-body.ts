/**
 * The body of one request on its way in. uWebSockets.js hands over chunks whether somebody wants them or not, and takes
 * each back when the callback returns. So this is registered at once; what comes before a consumer is attached is copied
 * and the socket is paused. A pause takes effect late: as long as a read fills its 512 KiB, uWS reads on from the same
 * socket, up to all that the system holds for it (MiBs). A sink that is full gets that, too: it has the place for it where
 * it is counted. The copies are counted by `kept`.
 */
import { AnvilError } from '../../../shared/errors.ts'
import type { BodySink } from '../../objects/contract.ts'

/** What the body needs of its connection. */
export interface BodyConnection {
  pause(): void
  resume(): void
}

/** `write` takes every chunk; false asks for a pause, and chunks that are under way may still come. */
type Sink = Pick<BodySink<unknown>, 'write' | 'drained'>

/** Bytes that bodies keep before they have a consumer. */
export interface KeptBytes {
  /** Counts them; false: there are too many, and the request must be refused. */
  take(bytes: number): boolean
  free(bytes: number): void
}

export class RequestBody {
  /** Bytes received so far. */
  received = 0
  /** When the client last sent a byte or was last allowed to. */
  lastProgressMs: number
  readonly #connection: BodyConnection
  readonly #now: () => number
  readonly #kept: KeptBytes
  /** What came before there was a sink. */
  #early: Uint8Array<ArrayBuffer>[] = []
  #complete = false
  #paused = false
  #discarding = false
  #failure: Error | null = null
  /** A part of it was not kept. */
  #refusal: Error | null = null
  #sink: Sink | null = null
  #draining = false
  #settle: { resolve: () => void; reject: (error: unknown) => void } | null = null

  constructor(connection: BodyConnection, kept: KeptBytes, now: () => number) {
    this.#connection = connection
    this.#kept = kept
    this.#now = now
    this.lastProgressMs = now()
  }

  /** Whether every byte of it has been received. */
  get complete(): boolean {
    return this.#complete
  }

  /** Whether it is the client whom we wait for. */
  get waitsForClient(): boolean {
    return !this.#complete && !this.#paused && this.#failure === null
  }

  /** The client was held back and may send again: its time starts anew. */
  restartClock(): void {
    this.lastProgressMs = this.#now()
  }

  /** Called by the connection. `chunk` is only valid during the call. */
  push(chunk: Uint8Array, last: boolean): void {
    this.received += chunk.length
    this.lastProgressMs = this.#now()
    if (last) {
      this.#complete = true
      // It may have been read before the pause took effect: the next request on this connection must be read, too.
      this.#resume()
    }
    if (this.#discarding || this.#failure !== null || this.#refusal !== null) return
    if (this.#sink !== null) {
      this.#feed(this.#sink, chunk)
      return
    }
    this.#pause()
    if (chunk.length === 0) return
    if (this.#kept.take(chunk.length)) this.#early.push(new Uint8Array(chunk))
    else this.#refusal = new AnvilError('SlowDown', 'no memory for a body that nobody reads yet')
  }

  /** Called by the connection when the client has gone, or by its owner when it took too long. */
  fail(error: Error): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#dropEarly()
    this.#settle?.reject(error)
    this.#settle = null
  }

  /** Nobody will read the rest: lets it pass. */
  discard(): void {
    this.#discarding = true
    this.#dropEarly()
    this.#resume()
  }

  /**
   * Feeds the sink until the body is complete, pausing the socket while the sink is full. Rejects when the client goes
   * away or the sink fails; finishing or aborting the sink is the caller's.
   */
  async pipeTo(sink: Sink): Promise<void> {
    const failed = this.#failure ?? this.#refusal
    if (failed !== null) throw failed
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#settle = { resolve, reject }
    this.#sink = sink
    for (let chunk = this.#early.shift(); chunk !== undefined; chunk = this.#early.shift()) {
      if (this.#sink === sink) this.#feed(sink, chunk)
      this.#drop(chunk)
    }
    this.#goOn(sink)
    await promise
  }

  /** The whole body, of at most `maxBytes`. @throws AnvilError EntityTooLarge, IncompleteBody */
  async collect(maxBytes: number): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    let size = 0
    await this.pipeTo({
      write(chunk) {
        size += chunk.length
        if (size > maxBytes) throw new AnvilError('EntityTooLarge', 'The request body is too large', { details: { max: maxBytes } })
        chunks.push(new Uint8Array(chunk))
        return true
      },
      drained: () => Promise.resolve(),
    })
    return Buffer.concat(chunks)
  }

  #feed(sink: Sink, chunk: Uint8Array): void {
    let more: boolean
    try {
      more = chunk.length === 0 || sink.write(chunk)
    } catch (error) {
      this.#sinkFailed(error)
      return
    }
    if (this.#draining) return
    if (more) {
      if (this.#complete && this.#early.length === 0) this.#done()
      return
    }
    this.#pause()
    this.#draining = true
    sink.drained().then(
      () => {
        this.#draining = false
        this.#goOn(sink)
      },
      (error: unknown) => {
        this.#sinkFailed(error)
      },
    )
  }

  #goOn(sink: Sink): void {
    if (this.#draining || this.#sink !== sink || this.#failure !== null) return
    if (this.#complete) this.#done()
    else this.#resume()
  }

  #dropEarly(): void {
    for (const chunk of this.#early.splice(0)) this.#drop(chunk)
  }

  /** Now, not when the garbage collector comes to it: these are large. */
  #drop(chunk: Uint8Array<ArrayBuffer>): void {
    this.#kept.free(chunk.length)
    chunk.buffer.transfer(0)
  }

  #done(): void {
    this.#sink = null
    this.#settle?.resolve()
    this.#settle = null
  }

  #sinkFailed(error: unknown): void {
    this.#sink = null
    this.#draining = false
    this.#settle?.reject(error)
    this.#settle = null
  }

  #pause(): void {
    if (this.#paused || this.#complete) return
    this.#paused = true
    this.#connection.pause()
  }

  #resume(): void {
    if (!this.#paused || this.#failure !== null) return
    this.#paused = false
    this.lastProgressMs = this.#now()
    this.#connection.resume()
  }
}
