/** What the bench and its load process tell each other (over IPC). */
import type { Credentials } from '../test/support/sigv4.ts'

export type Operation = 'PUT' | 'GET'

export interface LoadOrder {
  port: number
  credentials: Credentials
  bucket: string
  operation: Operation
  sizeBytes: number
  connections: number
  /** PUT: sign the body's SHA-256 instead of UNSIGNED-PAYLOAD. */
  signedPayload: boolean
  /** Objects named `PREFIX/0` and up. PUT: fresh names without end; GET: `objects` of them in turn. */
  prefix: string
  objects: number
  /** PUT exactly `objects` once and stop: what a GET reads later. Nothing is measured. */
  fill: boolean
  warmUpMs: number
  measureMs: number
}

export interface LoadResult {
  elapsedMs: number
  /** 2xx answers, and the bytes of bodies they carried (or took). */
  requests: number
  bodyBytes: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  /** Other answers by status; `error` and `timeout` for connections. Nothing is left out. */
  failures: Record<string, number>
  /** Of the load process itself, over the measured time: the bound of what it could show. */
  loadCpuSeconds: number
}

export type LoadMessage = { kind: 'begin' } | { kind: 'end'; result: LoadResult } | { kind: 'filled'; failures: Record<string, number> }
