/**
 * The load process: autocannon with signed S3 requests. A process of its own, so that the server's CPU is measured apart.
 * Takes one LoadOrder, says `begin` when the warm-up is over and `end` with the figures.
 */
import autocannon, { type Client, type Request as LoadRequest } from 'autocannon'
import { createRequire } from 'node:module'
import { bytes } from '../test/support/bytes.ts'
import { s3Path, sha256Hex, sign, UNSIGNED } from '../test/support/sigv4.ts'
import type { LoadMessage, LoadOrder, LoadResult } from './protocol.ts'

const require = createRequire(import.meta.url)
const { HTTPParser } = require(require.resolve('http-parser-js', { paths: [require.resolve('autocannon')] })) as { HTTPParser: { kOnBody: number } }

/** Seconds until a request counts as lost. */
const TIMEOUT_S = 120

process.once('message', (order: LoadOrder) => {
  const { body, requestOf } = requests(order)
  if (order.fill) void fill(order, body, requestOf)
  else run(order, body, requestOf)
})

const tell = (message: LoadMessage): void => void process.send!(message)

type RequestOf = () => LoadRequest

function requests(order: LoadOrder): { body: Buffer; requestOf: RequestOf } {
  const { operation, credentials, bucket, prefix, objects, fill: filling } = order
  const body = operation === 'PUT' ? bytes(order.sizeBytes) : Buffer.alloc(0)
  const payloadHash = operation === 'PUT' && order.signedPayload ? sha256Hex(body) : UNSIGNED
  const host = `127.0.0.1:${order.port}`
  let next = 0
  const requestOf = (): LoadRequest => {
    const number = operation === 'GET' || filling ? next++ % objects : next++
    const path = s3Path(bucket, `${prefix}/${number}`)
    const headers: Record<string, string> = operation === 'PUT' ? { host, 'content-length': String(body.length) } : { host }
    return { method: operation, path, headers: sign({ method: operation, path, headers, payloadHash, credentials }).headers }
  }
  return { body, requestOf }
}

/** Writes the objects that are to be read, a few at a time. */
async function fill(order: LoadOrder, body: Buffer, requestOf: RequestOf): Promise<void> {
  const failures: Record<string, number> = {}
  let left = order.objects
  await Promise.all(Array.from({ length: order.connections }, async () => {
    while (left-- > 0) {
      const { method, path, headers } = requestOf()
      const answer = await fetch(`http://127.0.0.1:${order.port}${path}`, { method: method!, headers: headers!, body: new Uint8Array(body) })
      await answer.arrayBuffer()
      if (!answer.ok) failures[answer.status] = (failures[answer.status] ?? 0) + 1
    }
  }))
  tell({ kind: 'filled', failures })
  process.disconnect()
}

function run(order: LoadOrder, body: Buffer, requestOf: RequestOf): void {
  const latencies: number[] = []
  const failures: Record<string, number> = {}
  let measuring = false
  const failed = (what: string): void => {
    failures[what] = (failures[what] ?? 0) + 1
  }
  const setupClient = (client: Client): void => {
    client.on('response', (status, _bytes, durationMs) => {
      // a refusal counts whenever it came
      if (status < 200 || status > 299) failed(String(status))
      else if (measuring) latencies.push(durationMs)
    })
    client.on('connError', (error) => failed(`error ${(error as NodeJS.ErrnoException).code ?? error.message}`))
    client.on('timeout', () => failed('timeout'))
    forgetOnReconnect(client, failed)
    if (body.length > 0) shareBody(client, body)
    // its parser is given its handlers after this: answers' bodies are counted by length, not gathered into strings
    queueMicrotask(() => {
      client.parser[HTTPParser.kOnBody] = () => {}
    })
  }
  const instance = autocannon({
    url: `http://127.0.0.1:${order.port}`, connections: order.connections, timeout: TIMEOUT_S, setupClient, excludeErrorStats: true,
    duration: 3600, // ended by `finish`
    requests: [{ setupRequest: (request) => Object.assign(request, requestOf()) }],
  }, (error) => {
    if (error !== null) throw error
  })
  setTimeout(() => {
    measuring = true
    const startedMs = performance.now()
    const cpu = process.cpuUsage()
    tell({ kind: 'begin' })
    setTimeout(() => {
      measuring = false
      tell({ kind: 'end', result: figures(order, latencies, failures, performance.now() - startedMs, process.cpuUsage(cpu)) })
      instance.stop()
      process.disconnect()
      process.exit(0)
    }, order.measureMs)
  }, order.warmUpMs)
}

/** autocannon keeps a lost request in its queue, and would give its start to the next answer. */
function forgetOnReconnect(client: Client, failed: (what: string) => void): void {
  const connect = client._connect.bind(client)
  client._connect = () => {
    if (client.pipelinedRequests.size() > 0) failed('request without an answer')
    client.pipelinedRequests.clear()
    connect()
  }
}

/** One buffer for all requests of all connections: autocannon would copy it behind each request's head. */
function shareBody(client: Client, body: Buffer): void {
  client.getRequestBuffer = () => {
    const head = client.requestIterator.currentRequest.requestBuffer!
    client.conn.cork()
    client.conn.write(head)
    process.nextTick(() => client.conn.uncork())
    return body
  }
}

function figures(order: LoadOrder, latencies: number[], failures: Record<string, number>, elapsedMs: number, cpu: NodeJS.CpuUsage): LoadResult {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
  return {
    elapsedMs, requests: sorted.length, bodyBytes: sorted.length * order.sizeBytes, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), failures,
    loadCpuSeconds: (cpu.user + cpu.system) / 1e6,
  }
}
