/** The parts of autocannon 9 that the bench uses; it brings no types. */
declare module 'autocannon' {
  import type { EventEmitter } from 'node:events'
  import type { Socket } from 'node:net'

  export interface Request {
    method?: string
    path?: string
    headers?: Record<string, string>
    body?: Buffer | string
    requestBuffer?: Buffer
    /** Called before each request but the first of a connection is built; the object may be changed. */
    setupRequest?: (request: Request, context: object) => Request
  }

  export interface Client extends EventEmitter {
    conn: Socket
    requestIterator: { currentRequest: Request }
    parser: Record<number, unknown>
    pipelinedRequests: { clear(): void; size(): number }
    getRequestBuffer(): Buffer
    _connect(): void
    on(event: 'response', listener: (status: number, bytes: number, durationMs: number) => void): this
    on(event: 'connError', listener: (error: Error) => void): this
    on(event: 'timeout', listener: () => void): this
  }

  export interface Options {
    url: string
    connections: number
    /** Seconds. */
    duration: number
    /** Seconds. */
    timeout: number
    requests: Request[]
    setupClient?: (client: Client) => void
    excludeErrorStats?: boolean
  }

  export interface Instance extends EventEmitter {
    stop(): void
  }

  export default function autocannon(options: Options, done: (error: Error | null) => void): Instance
}
