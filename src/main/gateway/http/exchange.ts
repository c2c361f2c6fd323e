/**
 * One request and its answer on a uWebSockets.js connection. The request object of uWS is only valid in the callback, so
 * everything of the head is taken at once; the response object must not be touched after an abort or the end of the
 * answer, so nobody else holds it.
 */
import { AnvilError } from '../../../shared/errors.ts'
import { MIB, REQUEST_IDLE_MS } from '../../../shared/limits.ts'
import type { Answer } from './answer.ts'
import { discardAnswer, statusLine } from './answer.ts'
import { RequestHeaders } from './headers.ts'
import type { HttpRequest, HttpResponse } from './load-uws.ts'
import { RequestBody, type KeptBytes } from './request-body.ts'
import { SourceStream } from './source-stream.ts'

/**
 * A refused request whose body is still on its way: up to this much is read and thrown away, so that a client that sends
 * everything before it reads gets its answer. Of a longer rest the connection is closed.
 */
const SWALLOW_BYTES = 64 * MIB
/** Between two signs of life of an answer whose document is late. */
const LATE_INTERVAL_MS = 5_000

export interface RequestHead {
  method: string
  /** As it was sent, before any decoding, without the query. */
  rawPath: string
  /** Without the `?`; '' when there is none. */
  rawQuery: string
  headers: RequestHeaders
  /** Text form, IPv4 in IPv6 form included. */
  remoteAddress: string
  /** Over TLS. */
  secure: boolean
}

/** Why a request ended without its answer. */
export class ClientGone extends Error {
  constructor() {
    super('the client closed the connection')
    this.name = 'ClientGone'
  }
}

export interface ExchangeOptions {
  secure: boolean
  /** Sent with every answer. */
  commonHeaders: readonly (readonly [string, string])[]
  now: () => number
  kept: KeptBytes
  /** The rest of the answer's body cannot be read; the connection is cut. */
  sourceFailed(error: unknown): void
  /** A chunk of a body was taken in. */
  received(): void
  /** Called once, when nothing of the exchange is left. */
  ended(exchange: Exchange): void
}

export class Exchange {
  readonly head: RequestHead
  readonly body: RequestBody
  /** Status that was answered; 0 before. */
  status = 0
  sentBytes = 0
  /** The body's sink is full; all bodies are held back (see IntakeGate). */
  #bodyPaused = false
  #held = false
  /** An answer that waits for the rest of the body. */
  #postponed: Answer | null = null
  #aborted = false
  #answered = false
  #over = false
  readonly #res: HttpResponse
  readonly #options: ExchangeOptions
  #stream: SourceStream | null = null
  #lateTimer: NodeJS.Timeout | null = null

  constructor(res: HttpResponse, req: HttpRequest, options: ExchangeOptions) {
    this.#res = res
    this.#options = options
    const headers = new RequestHeaders()
    req.forEach((name, value) => {
      headers.add(name, value)
    })
    this.head = {
      method: req.getCaseSensitiveMethod(),
      rawPath: req.getUrl(),
      rawQuery: req.getQuery() ?? '',
      headers,
      remoteAddress: Buffer.from(res.getRemoteAddressAsText()).toString('latin1'),
      secure: options.secure,
    }
    this.body = new RequestBody({
      pause: () => {
        this.#bodyPaused = true
        if (!this.#over) res.pause()
      },
      resume: () => {
        this.#bodyPaused = false
        if (!this.#over && !this.#held) res.resume()
      },
    }, options.kept, options.now)
    res.onAborted(() => {
      this.#abort()
    })
    res.onData((chunk, last) => {
      this.body.push(new Uint8Array(chunk), last)
      options.received()
      if (this.body.complete) this.#sendPostponed()
    })
  }

  /** No more of the body is read until `release`. */
  hold(): void {
    if (this.#held || this.#over || this.body.complete) return
    this.#held = true
    if (!this.#bodyPaused) this.#res.pause()
  }

  release(): void {
    if (!this.#held) return
    this.#held = false
    this.body.restartClock()
    if (!this.#over && !this.#bodyPaused) this.#res.resume()
  }

  get aborted(): boolean {
    return this.#aborted
  }

  /** Sends the answer, unless the client has gone. Call once. */
  answer(answer: Answer): void {
    if (this.#aborted || this.#answered) {
      discardAnswer(answer)
      return
    }
    if (this.#mustHearOut(answer)) {
      this.#postponed = answer
      this.body.discard()
      return
    }
    this.#send(answer)
  }

  /**
   * Whether the client must be heard out before it gets its refusal: when it asked for the connection to be closed (as the
   * JavaScript SDK does with Expect: 100-continue), uWS closes it behind the answer; bytes that are still on their way then
   * make the kernel reset the connection, and the client loses the answer.
   */
  #mustHearOut(answer: Answer): boolean {
    if (this.body.complete || answer.close === true || answer.body.kind !== 'text') return false
    if (this.head.headers.get('connection')?.toLowerCase() !== 'close') return false
    return this.#announcedBytes() - this.body.received <= SWALLOW_BYTES
  }

  #sendPostponed(): void {
    const answer = this.#postponed
    this.#postponed = null
    if (answer !== null && !this.#aborted) this.#send(answer)
  }

  #send(answer: Answer): void {
    this.#answered = true
    this.status = answer.status
    const close = answer.close === true || !this.#letBodyPass()
    const { body } = answer
    switch (body.kind) {
      case 'source':
        this.#sendSource(answer, body.length, close)
        break
      case 'late':
        this.#sendLate(answer, body, close)
        break
      default:
        this.#res.cork(() => {
          this.#writeHead(answer)
          if (body.kind === 'text') {
            this.#res.writeHeader('Content-Type', body.contentType)
            this.sentBytes = Buffer.byteLength(body.text)
            if (this.head.method === 'HEAD') this.#res.endWithoutBody(this.sentBytes, close)
            else this.#res.end(body.text, close)
          } else if (body.kind === 'head') {
            this.#res.endWithoutBody(body.length, close)
          } else if (answer.status === 204 || answer.status === 304 || this.head.method === 'HEAD') {
            // With `undefined` for the length, uWS writes a Content-Length of 2^63.
            if (close) this.#res.end('', true)
            else this.#res.endWithoutBody()
          } else {
            this.#res.end('', close)
          }
        })
        this.#end()
    }
  }

  /** Cuts the connection, whatever is going on. */
  cut(): void {
    if (!this.#over) this.#res.close()
  }

  /**
   * Called every few seconds. A client that neither sends what it announced nor takes what it asked for within
   * REQUEST_IDLE_MS is let go; as long as it has time, uWS's own, shorter timeout is put off.
   */
  tick(nowMs: number): void {
    if (this.#over) return
    if (!this.#answered) {
      if (!this.body.waitsForClient) return
      if (!this.#held && nowMs - this.body.lastProgressMs > REQUEST_IDLE_MS) {
        if (this.#postponed !== null) this.#sendPostponed()
        else this.body.fail(new AnvilError('RequestTimeout', 'Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.'))
      } else {
        this.#putOffTimeout()
      }
    } else if (this.#stream !== null) {
      this.#stream.pump()
      if (this.#over) return
      if (this.#stream.blockedSince !== null && nowMs - this.#stream.blockedSince > REQUEST_IDLE_MS) this.cut()
      else this.#putOffTimeout()
    }
  }

  #putOffTimeout(): void {
    this.#res.pause()
    this.#res.resume()
    if (this.#held) this.#res.pause()
  }

  /** True when the connection can be used again after the answer. */
  #letBodyPass(): boolean {
    if (this.body.complete) return true
    if (!(this.#announcedBytes() - this.body.received <= SWALLOW_BYTES)) return false
    this.body.discard()
    return true
  }

  /**
   * How long the client says that its body is. The JavaScript SDK sends aws-chunked bodies with Transfer-Encoding: chunked,
   * and tells the decoded length: the framing adds little. Infinity when nothing is told.
   */
  #announcedBytes(): number {
    const { headers } = this.head
    const length = headers.get('content-length') ?? headers.get('x-amz-decoded-content-length')
    if (length !== undefined) return Number(length)
    return headers.has('transfer-encoding') ? Number.POSITIVE_INFINITY : 0
  }

  #writeHead(answer: Answer): void {
    const res = this.#res
    res.writeStatus(statusLine(answer.status))
    for (const [name, value] of this.#options.commonHeaders) res.writeHeader(name, value)
    for (const [name, value] of answer.headers) res.writeHeader(name, headerText(value))
  }

  #sendSource(answer: Answer, length: number, close: boolean): void {
    if (answer.body.kind !== 'source') return
    this.#stream = new SourceStream(this.#res, answer.body.source, length, {
      writeHead: () => {
        this.#writeHead(answer)
      },
      now: this.#options.now,
      close,
      over: (sentBytes) => {
        this.sentBytes = sentBytes
        this.#end()
      },
      failed: (error) => {
        this.#options.sourceFailed(error)
        this.cut()
      },
    })
    this.#stream.start()
  }

  #sendLate(answer: Answer, body: Extract<Answer['body'], { kind: 'late' }>, close: boolean): void {
    const res = this.#res
    res.cork(() => {
      this.#writeHead(answer)
      res.writeHeader('Content-Type', body.contentType)
      res.write(body.opening)
    })
    this.#lateTimer = setInterval(() => {
      res.cork(() => {
        res.write(' ')
      })
    }, LATE_INTERVAL_MS)
    void body.rest.then((rest) => {
      if (this.#over) return
      this.sentBytes = body.opening.length + rest.length
      res.cork(() => {
        res.end(rest, close)
      })
      this.#end()
    })
  }

  #abort(): void {
    this.#aborted = true
    this.body.fail(new ClientGone())
    this.#stream?.abandon()
    this.#end()
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    if (this.#lateTimer !== null) clearInterval(this.#lateTimer)
    this.#options.ended(this)
  }
}

/** A header value must not end its line; control characters have no place in one. */
function headerText(value: string): string {
  // oxlint-disable-next-line no-control-regex
  return /[\x00-\x08\x0a-\x1f\x7f]/.test(value) ? value.replace(/[\x00-\x08\x0a-\x1f\x7f]+/g, ' ') : value
}
