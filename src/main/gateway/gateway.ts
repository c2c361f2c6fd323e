/**
 * The S3 gateway: uWebSockets.js in front, an ObjectStore and a Directory behind. Runs on the main thread or in any
 * number of worker threads that listen on the same port. A thread must drain its gateway before it ends: libuv aborts the
 * process when a thread goes with its sockets open.
 */
import type { Config } from '../config/contract.ts'
import type { Directory } from '../directory/contract.ts'
import type { ObjectStore } from '../objects/contract.ts'
import { SigningKeys } from './auth/signing-key.ts'
import type { RequestFigures } from '../observability/thread-metrics.ts'
import { countRequest, type GatewayCounters, newCounters } from './counters.ts'
import { type GatewayLogger, type GatewayHealth, type Outcome, RequestHandler } from './handler.ts'
import { Exchange } from './http/exchange.ts'
import { IntakeGate, type IntakeMemory } from './http/intake-gate.ts'
import { loadUws, type HttpRequest, type HttpResponse } from './http/load-uws.ts'
import { Listener } from './http/listener.ts'
import { newHostId, newRequestId } from './request-id.ts'

export type { GatewayCounters } from './counters.ts'
export type { GatewayLogger, GatewayHealth } from './handler.ts'

export interface GatewayOptions {
  store: ObjectStore
  directory: Directory
  logger: GatewayLogger
  region: Config['region']
  /** Where to listen; port 0: the system chooses. */
  listen: Config['http']
  tls: Config['tls']
  s3Domain: Config['s3Domain']
  /** For /-/healthz: whether the process works at all. */
  health?: () => GatewayHealth | Promise<GatewayHealth>
  /** For /-/readyz: whether requests can be served now. */
  ready?: () => GatewayHealth | Promise<GatewayHealth>
  /** The memory that bodies under way share with everything else of the process. @default without bound */
  intake?: IntakeMemory
  /** Milliseconds since the epoch. @default Date.now */
  clock?: () => number
  /** Between two looks at the certificate's files. Milliseconds. @default 10000 */
  tlsPollMs?: number
  /** Between two looks for clients that stalled. Milliseconds; must stay well below uWS's timeout of 30 s. @default 5000 */
  tickMs?: number
  /** Told of each request when it has ended. */
  onRequest?: (figures: RequestFigures) => void
  /** How long copies and CompleteMultipartUpload may take before their 200 goes out ahead of the outcome. Milliseconds. @default 10000 */
  patienceMs?: number
}

export interface Gateway {
  /** Resolves with the port, which the system chose if the configured one is 0. @throws Error when it cannot be bound */
  listen(): Promise<{ port: number }>
  /** Takes no new connections and requests, lets running ones end for at most `ms`, then closes everything. Idempotent. */
  drain(ms: number): Promise<void>
  counters(): GatewayCounters
}

/** Of a gateway alone, in tests. */
const UNBOUNDED: IntakeMemory = { pressure: () => 0, take: () => true, free: () => {} }
const TICK_MS = 5_000
/** Below the read timeouts of clients and proxies, above what nearly every operation takes. */
const PATIENCE_MS = 10_000

export function createGateway(options: GatewayOptions): Gateway {
  return new S3Gateway(options)
}

class S3Gateway implements Gateway {
  readonly #counters = newCounters()
  readonly #exchanges = new Set<Exchange>()
  readonly #intake: IntakeMemory
  readonly #gate: IntakeGate
  readonly #handler: RequestHandler
  readonly #listener: Listener
  readonly #logger: GatewayLogger
  readonly #now: () => number
  readonly #tickMs: number
  readonly #hostId = newHostId()
  readonly #onRequest: (figures: RequestFigures) => void
  #ticker: NodeJS.Timeout | null = null
  #draining: Promise<void> | null = null
  #idle: (() => void) | null = null

  constructor({ store, directory, logger, region, listen, tls, s3Domain, health, ready, clock, tlsPollMs, tickMs, patienceMs, intake = UNBOUNDED, onRequest }: GatewayOptions) {
    this.#onRequest = onRequest ?? (() => {})
    this.#intake = intake
    this.#gate = new IntakeGate(() => intake.pressure(), this.#exchanges)
    this.#logger = logger
    this.#tickMs = tickMs ?? TICK_MS
    this.#now = clock ?? Date.now
    this.#handler = new RequestHandler({
      store, directory, logger,
      keys: new SigningKeys(),
      region,
      s3Domain,
      hostId: this.#hostId,
      patienceMs: patienceMs ?? PATIENCE_MS,
      now: this.#now,
      draining: () => this.#draining !== null,
      health: health ?? (() => ({ ok: true, body: { status: 'ok' } })),
      ready: ready ?? (() => ({ ok: this.#draining === null, body: { status: this.#draining === null ? 'ok' : 'unavailable' } })),
    })
    this.#listener = new Listener(loadUws(), {
      ...listen,
      tls,
      tlsPollMs,
      logger,
      onRequest: (res, req) => {
        this.#accept(res, req, tls !== null)
      },
    })
  }

  async listen(): Promise<{ port: number }> {
    const port = await this.#listener.listen()
    this.#ticker = setInterval(() => {
      const now = this.#now()
      for (const exchange of this.#exchanges) exchange.tick(now)
    }, this.#tickMs)
    return { port }
  }

  drain(ms: number): Promise<void> {
    this.#draining ??= this.#drain(ms)
    return this.#draining
  }

  counters(): GatewayCounters {
    return { ...structuredClone(this.#counters), active: this.#exchanges.size }
  }

  async #drain(ms: number): Promise<void> {
    this.#listener.stop()
    if (this.#exchanges.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#idle = resolve
      const timer = setTimeout(resolve, ms)
      await promise
      clearTimeout(timer)
      if (this.#exchanges.size > 0) this.#logger.warn({ requests: this.#exchanges.size }, 'requests were still running at the end of the drain')
      // The last answers are with uWS, the kernel may not have taken all of them: cork buffers go out with the loop's turn.
      await new Promise((done) => setImmediate(done))
    }
    if (this.#ticker !== null) clearInterval(this.#ticker)
    this.#gate.open()
    this.#listener.close()
  }

  #accept(res: HttpResponse, req: HttpRequest, secure: boolean): void {
    const requestId = newRequestId()
    const startedMs = this.#now()
    const outcome: Outcome = { operation: 'unknown', error: null }
    const exchange = new Exchange(res, req, {
      secure,
      commonHeaders: [['x-amz-request-id', requestId], ['x-amz-id-2', this.#hostId], ['Server', 'Anvil']],
      now: this.#now,
      kept: this.#intake,
      received: () => {
        this.#gate.chunk()
      },
      ended: () => {
        this.#ended(exchange, requestId, outcome, startedMs)
      },
      sourceFailed: (error) => {
        this.#counters.cut++
        this.#logger.error({ requestId, operation: outcome.operation, err: error }, 'an answer was cut: the rest of the object cannot be read')
      },
    })
    this.#exchanges.add(exchange)
    if (this.#gate.closed) exchange.hold()
    void this.#handler.handle(exchange, requestId, outcome)
  }

  #ended(exchange: Exchange, requestId: string, outcome: Outcome, startedMs: number): void {
    this.#exchanges.delete(exchange)
    const durationMs = this.#now() - startedMs
    const { head, body, sentBytes, status, aborted } = exchange
    this.#counters.receivedBytes += body.received
    this.#counters.sentBytes += sentBytes
    this.#onRequest({ operation: outcome.operation, status, durationMs, receivedBytes: body.received, sentBytes, aborted })
    if (aborted) this.#counters.aborted++
    else countRequest(this.#counters, outcome.operation, status, durationMs)
    this.#logger.debug({
      requestId, operation: outcome.operation, method: head.method, path: head.rawPath, status, durationMs, aborted,
      receivedBytes: body.received, sentBytes, ...(outcome.error === null ? {} : { code: outcome.error.code }),
    }, aborted ? 'a client went away' : 'a request was answered')
    if (this.#exchanges.size === 0) this.#idle?.()
  }
}
