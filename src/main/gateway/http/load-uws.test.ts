import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { test } from 'node:test'
import { isMainThread, parentPort, threadId, Worker } from 'node:worker_threads'
import { loadUws, setUwsLimits } from './load-uws.ts'

const BIG_HEADER_BYTES = 20 * 1024

if (isMainThread) {
  test('threads share one port, take large headers, and end without taking the process along', { timeout: 30_000 }, async () => {
    setUwsLimits()
    const port = await freePort()
    const workers = [1, 2].map(() => new Worker(new URL(import.meta.url), { workerData: { port } }))
    const ready = await Promise.all(workers.map((worker) => once(worker, 'message')))
    assert.deepEqual(ready, [['listening'], ['listening']])

    const answered = new Set<string>()
    for (let i = 0; i < 200; i++) answered.add(await get(port, 'x'.repeat(BIG_HEADER_BYTES)))
    assert.equal(answered.size, 2)

    for (const worker of workers) {
      const ended = once(worker, 'exit')
      worker.postMessage('close')
      assert.deepEqual(await ended, [0])
    }
    await assert.rejects(get(port, 'x'), { code: 'ECONNREFUSED' })
  })

  test('the main thread serves and closes too', { timeout: 30_000 }, async () => {
    const server = await listen(await freePort())
    assert.equal(await get(server.port, 'x'.repeat(BIG_HEADER_BYTES)), String(threadId))
    server.close()
    await assert.rejects(get(server.port, 'x'), { code: 'ECONNREFUSED' })
  })

  test('a worker whose process never set the limit is refused', { timeout: 30_000 }, async () => {
    const worker = new Worker(new URL(import.meta.url), { env: {}, workerData: { port: 0 } })
    const [error] = (await once(worker, 'error')) as [Error]
    assert.match(error.message, /setUwsLimits/)
  })
} else {
  const { workerData } = await import('node:worker_threads')
  const server = await listen((workerData as { port: number }).port)
  parentPort?.postMessage('listening')
  parentPort?.once('message', () => server.close())
}

function listen(port: number): Promise<{ port: number; close: () => void }> {
  const uws = loadUws()
  const app = uws.App().get('/*', (response) => void response.end(String(threadId)))
  return new Promise((resolve, reject) => {
    app.listen('127.0.0.1', port, (socket) => {
      if (socket === false) reject(new Error(`cannot listen on ${port}`))
      else resolve({ port, close: () => void app.close() })
    })
  })
}

async function freePort(): Promise<number> {
  const server = http.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** On a connection of its own, since the kernel spreads connections over the threads. */
function get(port: number, header: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, agent: false, headers: { 'x-filler': header } }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (body += chunk))
      response.on('end', () => (response.statusCode === 200 ? resolve(body) : reject(new Error(`status ${response.statusCode}`))))
    })
    request.on('error', reject)
  })
}
