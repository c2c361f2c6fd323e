/** Sends a BodySource as the body of an answer, as fast as the client takes it and no faster. */
import { KIB } from '../../../shared/limits.ts'
import type { BodySource } from '../../objects/contract.ts'
import type { HttpResponse } from './load-uws.ts'

/** One write to the socket. */
const CHUNK_BYTES = 256 * KIB
/** Buffers kept for the next answers of this thread. */
const SPARE_BUFFERS = 32

/**
 * An answer has a buffer only from the copy until the socket has taken all of it, so that few do for many answers. One of its
 * own for each answer would make V8 collect the whole heap every few hundred answers: it counts their bytes, too.
 */
const spare: Uint8Array[] = []
const NONE = new Uint8Array(0)

export interface SourceStreamOptions {
  /** Writes status and headers, called inside a cork. */
  writeHead: () => void
  now: () => number
  /** Close the connection at the end. */
  close: boolean
  /** The last byte is with uWS. */
  over: (sentBytes: number) => void
  /** The source cannot go on: the connection must be cut. */
  failed: (error: unknown) => void
}

export class SourceStream {
  /** Since when the client has taken nothing; null while it takes what it gets. */
  blockedSince: number | null = null
  readonly #res: HttpResponse
  readonly #source: BodySource
  readonly #length: number
  readonly #options: SourceStreamOptions
  #buffer: Uint8Array = NONE
  #headWritten = false
  /** What the source gave and the socket has not taken: buffer[from, to). */
  #from = 0
  #to = 0
  #sent = 0
  /** Verified bytes that wait in the source. */
  #ready = 0
  #waiting = false
  #over = false

  constructor(res: HttpResponse, source: BodySource, length: number, options: SourceStreamOptions) {
    this.#res = res
    this.#source = source
    this.#length = length
    this.#options = options
  }

  start(): void {
    this.#res.onWritable(() => {
      this.pump()
      return true
    })
    this.#await()
  }

  /** The client has gone, or the connection is cut. */
  abandon(): void {
    this.#finish()
  }

  /** Sends what can be sent now. */
  pump(): void {
    if (this.#over || this.#waiting) return
    this.#res.cork(() => {
      this.#send()
    })
  }

  #await(): void {
    this.#waiting = true
    this.#source.ready().then(
      (bytes) => {
        this.#waiting = false
        if (this.#over) return
        this.#ready = bytes
        if (bytes === 0 && this.#length > this.#sent + (this.#to - this.#from)) {
          this.#fail(new Error(`the body ended ${this.#length - this.#sent} bytes early`))
          return
        }
        this.pump()
      },
      (error: unknown) => {
        this.#waiting = false
        if (!this.#over) this.#fail(error)
      },
    )
  }

  #send(): void {
    if (!this.#headWritten) {
      this.#headWritten = true
      this.#options.writeHead()
      if (this.#length === 0) {
        this.#res.end('', this.#options.close)
        this.#complete()
        return
      }
    }
    for (;;) {
      if (this.#from === this.#to) {
        const left = this.#length - this.#sent
        const want = Math.min(CHUNK_BYTES, this.#ready, left)
        if (want === 0) {
          this.#giveBack()
          this.#await()
          return
        }
        if (this.#buffer.length !== CHUNK_BYTES) this.#buffer = spare.pop() ?? new Uint8Array(CHUNK_BYTES)
        this.#from = 0
        this.#to = this.#source.copy(want === CHUNK_BYTES ? this.#buffer : this.#buffer.subarray(0, want))
        this.#ready -= this.#to
        if (this.#to === 0) {
          this.#ready = 0
          continue
        }
      }
      const [ok, done] = this.#res.tryEnd(this.#buffer.subarray(this.#from, this.#to), this.#length)
      if (done) {
        this.#sent = this.#length
        this.#complete()
        return
      }
      const offset = this.#res.getWriteOffset()
      const taken = offset - this.#sent
      this.#sent = offset
      this.#from += taken
      if (!ok) {
        if (taken > 0 || this.blockedSince === null) this.blockedSince = this.#options.now()
        this.#keepRest()
        return
      }
      this.blockedSince = null
    }
  }

  #complete(): void {
    this.#finish()
    this.#options.over(this.#sent)
  }

  #fail(error: unknown): void {
    this.#finish()
    this.#options.failed(error)
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    this.#source.close()
    this.#giveBack()
  }

  /** Before a wait for a slow client: what is left of a small body needs no whole buffer. */
  #keepRest(): void {
    if (this.#length >= CHUNK_BYTES || this.#buffer.length !== CHUNK_BYTES) return
    const rest = this.#buffer.slice(this.#from, this.#to)
    this.#giveBack()
    this.#buffer = rest
    this.#from = 0
    this.#to = rest.length
  }

  #giveBack(): void {
    if (this.#buffer.length === CHUNK_BYTES && spare.length < SPARE_BUFFERS) spare.push(this.#buffer)
    this.#buffer = NONE
  }
}
