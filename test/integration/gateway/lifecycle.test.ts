/** Drain, several threads' worth of gateways on one port, TLS with a certificate that changes. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import https from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import tls from 'node:tls'
import { Worker } from 'node:worker_threads'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { setUwsLimits } from '../../../src/main/gateway/http/load-uws.ts'
import { assertPortFree } from '../../../src/main/gateway/index.ts'
import { startHarness } from './harness.ts'
import { eventually, RawSocket } from './raw-socket.ts'
import { signed } from './sign.ts'

test('a drain lets running requests end and takes no new ones', async () => {
  const harness = await startHarness()
  await harness.client().send(new CreateBucketCommand({ Bucket: 'drained' }))
  const running = await RawSocket.open(harness.port)
  const idle = await RawSocket.open(harness.port)
  idle.send('GET /-/healthz HTTP/1.1\r\nHost: h\r\n\r\n')
  assert.equal((await idle.answer()).status, 200)
  running.send(signed({ method: 'PUT', target: '/drained/k', headers: { 'content-length': '10' } }).head, '12345')
  await eventually('the upload is open', () => harness.store.openSinks === 1)
  const drained = harness.gateway.drain(5_000)
  await assert.rejects(RawSocket.open(harness.port))
  const refused = await idle.send(signed({ method: 'GET', target: '/drained/k' }).head).answer()
  assert.deepEqual([refused.status, /<Code>(\w+)/.exec(refused.body)?.[1]], [503, 'ServiceUnavailable'])
  await idle.ended()
  running.send('67890')
  assert.equal((await running.answer()).status, 200)
  await drained
  await running.ended()
  await harness.stop()
})

test('a drain does not wait longer than it may', async () => {
  const harness = await startHarness()
  await harness.client().send(new CreateBucketCommand({ Bucket: 'drained' }))
  const stuck = await RawSocket.open(harness.port)
  stuck.send(signed({ method: 'PUT', target: '/drained/k', headers: { 'content-length': '10' } }).head, '12345')
  await eventually('the upload is open', () => harness.store.openSinks === 1)
  const started = Date.now()
  await harness.gateway.drain(100)
  assert.ok(Date.now() - started < 2_000)
  await stuck.ended()
  await eventually('the upload is gone', () => harness.store.openSinks === 0)
  assert.equal(harness.store.aborted, 1)
  await harness.stop()
})

test('two gateways share a port; one ends and the other goes on', async () => {
  const first = await startHarness()
  const second = await startHarness({ listen: { host: '127.0.0.1', port: first.port } })
  assert.equal(second.port, first.port)
  await first.stop()
  for (let i = 0; i < 20; i++) assert.equal((await fetch(`${second.endpoint}/-/healthz`)).status, 200)
  await second.stop()
})

test('gateways in threads share a port, and end without taking the process along', async () => {
  setUwsLimits()
  const main = await startHarness()
  await assert.rejects(assertPortFree({ host: '127.0.0.1', port: main.port }), { code: 'EADDRINUSE' })
  const threads = [1, 2].map(() => new Worker(new URL('gateway-thread.ts', import.meta.url), { workerData: { port: main.port } }))
  // All at once: a message that nobody listens for is lost.
  assert.deepEqual(await Promise.all(threads.map((thread) => once(thread, 'message'))), [[main.port], [main.port]])
  const hosts = new Set<string>()
  for (let i = 0; i < 200 && hosts.size < 3; i++) hosts.add(await hostOf(main.port))
  assert.equal(hosts.size, 3)
  for (const thread of threads) {
    const ended = once(thread, 'exit')
    thread.postMessage('drain')
    assert.deepEqual(await ended, [0])
  }
  await main.stop()
  await assertPortFree({ host: '127.0.0.1', port: main.port })
})

/** Which gateway answers, over a connection of its own. */
async function hostOf(port: number): Promise<string> {
  const raw = await RawSocket.open(port)
  const answer = await raw.send('GET /-/healthz HTTP/1.1\r\nHost: h\r\n\r\n').answer()
  raw.close()
  return answer.headers['x-amz-id-2'] ?? ''
}

function makeCertificate(dir: string, name: string): { certFile: string; keyFile: string } {
  const certFile = path.join(dir, `${name}.crt`)
  const keyFile = path.join(dir, `${name}.key`)
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' })
  return { certFile, keyFile }
}

const commonName = (port: number): Promise<string> => new Promise((resolve, reject) => {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
    resolve(String(socket.getPeerCertificate().subject.CN))
    socket.destroy()
  })
  socket.on('error', reject)
})

test('TLS, and a certificate that is replaced while it serves', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'anvil-tls-'))
  const { certFile, keyFile } = makeCertificate(dir, 'old')
  const harness = await startHarness({ tls: { certFile, keyFile }, tlsPollMs: 20 })
  const agent = new https.Agent({ rejectUnauthorized: false, keepAlive: true })
  const s3 = harness.client({ requestHandler: new NodeHttpHandler({ httpsAgent: agent }) })
  await s3.send(new CreateBucketCommand({ Bucket: 'secure' }))
  const Body = Buffer.alloc(6_000_000, 'tls')
  await s3.send(new PutObjectCommand({ Bucket: 'secure', Key: 'k', Body }))
  assert.equal(await commonName(harness.port), 'old')
  const fresh = makeCertificate(dir, 'new')
  // Half of the change is no pair: the old one stays.
  renameSync(fresh.certFile, certFile)
  await eventually('the half change is reported', () => harness.lines.some(({ level }) => level === 'error'))
  assert.equal(await commonName(harness.port), 'old')
  renameSync(fresh.keyFile, keyFile)
  await eventually('the change is taken', () => harness.lines.some(({ message }) => message.includes('certificate is in use')))
  for (let i = 0; i < 5; i++) assert.equal(await commonName(harness.port), 'new')
  // Over the connection of before, and over a new one.
  for (const client of [s3, harness.client({ requestHandler: new NodeHttpHandler({ httpsAgent: new https.Agent({ rejectUnauthorized: false }) }) })]) {
    const got = await client.send(new GetObjectCommand({ Bucket: 'secure', Key: 'k' }))
    assert.ok(Body.equals(await got.Body!.transformToByteArray()))
  }
  await harness.stop()
  rmSync(dir, { recursive: true })
})
