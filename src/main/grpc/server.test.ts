/** The gRPC server over a real socket: who is let in, and what is answered. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ChannelCredentials, credentials, Metadata, type ServiceError, status, type Client } from '@grpc/grpc-js'
import { pino } from 'pino'
import { AnvilError } from '../../shared/errors.ts'
import type { TenantId } from '../../shared/ids.ts'
import type { App } from '../directory/contract.ts'
import type { ClusterStatus } from './generated/anvil/v1/ClusterStatus.ts'
import type { ClusterStatus__Output } from './generated/anvil/v1/ClusterStatus.ts'
import { until } from '../../../test/support/until.ts'
import { clusterClient } from '../cli/grpc-client.ts'
import { startGrpcServer, type GrpcServer } from './server.ts'
import { AuthService, ClusterService } from './services.ts'
import { mintToken, verifyToken } from './tokens.ts'

const JWT_SECRET = 'a secret of the tests, long enough for HMAC-SHA256'
const APP: App = { clientId: 'APP1', tenantId: 1 as TenantId, name: 'first', secrets: ['new secret', 'old secret'], grants: [], disabled: false }

let server: GrpcServer
let state: ClusterStatus = { region: 'local', nodes: [{ id: 'n1', state: 'alive' }] }
let failure: Error | null = null
const clients: Client[] = []

before(async () => {
  server = await start(null)
})
after(async () => {
  for (const client of clients) client.close()
  await server.close()
})

function start(tls: { certFile: string; keyFile: string } | null): Promise<GrpcServer> {
  return startGrpcServer({
    listen: { host: '127.0.0.1', port: 0 }, tls, jwtSecret: JWT_SECRET, logger: pino({ level: 'silent' }),
    directory: { app: (id) => Promise.resolve(id === APP.clientId ? APP : id === 'OFF' ? { ...APP, disabled: true } : null) },
    status: () => (failure === null ? Promise.resolve(state) : Promise.reject(failure)),
  })
}

function keep<C extends Client>(client: C): C {
  clients.push(client)
  return client
}

const plain = ChannelCredentials.createInsecure()
const bearer = (token: string): Metadata => {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  return metadata
}

function accessToken(clientId: string, clientSecret: string): Promise<string> {
  const client = keep(new AuthService(`127.0.0.1:${server.port}`, plain))
  return new Promise((resolve, reject) => {
    client.getAccessToken({ clientId, clientSecret }, (error, answer) => (error === null ? resolve(answer!.accessToken) : reject(error)))
  })
}

function clusterStatus(metadata: Metadata, port = server.port, channel = plain): Promise<ClusterStatus__Output> {
  const client = keep(new ClusterService(`localhost:${port}`, channel))
  return new Promise((resolve, reject) => {
    client.getStatus({}, metadata, (error, answer) => (error === null ? resolve(answer!) : reject(error)))
  })
}

const code = (expected: status) => (error: ServiceError) => {
  assert.equal(status[error.code], status[expected], error.message)
  return true
}

test("an app's credentials give a token, during rotation with either secret", async () => {
  for (const secret of APP.secrets) {
    const { role, subject, expiresMs } = await verifyToken(JWT_SECRET, await accessToken('APP1', secret))
    assert.deepEqual({ role, subject }, { role: 'app', subject: 'APP1' })
    assert.ok(expiresMs > Date.now() + 3_500_000)
  }
})

test('what is not right is refused without saying which', async () => {
  const refusals: string[] = []
  for (const [id, secret] of [['APP1', 'wrong'], ['NOBODY', 'new secret'], ['OFF', 'new secret'], ['x'.repeat(5000), 'y']] as const) {
    await assert.rejects(accessToken(id, secret), (error: ServiceError) => {
      refusals.push(error.details)
      return code(status.UNAUTHENTICATED)(error)
    })
  }
  assert.equal(new Set(refusals).size, 1)
  await assert.rejects(accessToken('', ''), code(status.INVALID_ARGUMENT))
})

test('the state of the cluster is for administrators', async () => {
  const admin = await mintToken(JWT_SECRET, { role: 'admin', subject: 'test' }, 60)
  assert.deepEqual((await clusterStatus(bearer(admin))).nodes.map((node) => node.id), ['n1'])
  await assert.rejects(clusterStatus(new Metadata()), code(status.UNAUTHENTICATED))
  await assert.rejects(clusterStatus(bearer('nonsense')), code(status.UNAUTHENTICATED))
  await assert.rejects(clusterStatus(bearer(await mintToken('another secret that is long enough as well', { role: 'admin', subject: 'x' }, 60))), code(status.UNAUTHENTICATED))
  await assert.rejects(clusterStatus(bearer(await mintToken(JWT_SECRET, { role: 'admin', subject: 'x' }, -120))), code(status.UNAUTHENTICATED))
  await assert.rejects(clusterStatus(bearer(await accessToken('APP1', 'new secret'))), code(status.PERMISSION_DENIED))
})

test('errors have their code, and no cause', async () => {
  const admin = bearer(await mintToken(JWT_SECRET, { role: 'admin', subject: 'test' }, 60))
  try {
    failure = new AnvilError('MetadataUnavailable', 'the database is away')
    await assert.rejects(clusterStatus(admin), code(status.UNAVAILABLE))
    failure = new Error('password=hunter2')
    await assert.rejects(clusterStatus(admin), (error: ServiceError) => !error.message.includes('hunter2') && code(status.INTERNAL)(error))
  } finally {
    failure = null
  }
})

test('a watch tells the state now and each change, and ends with its client', async () => {
  const client = keep(new ClusterService(`127.0.0.1:${server.port}`, plain))
  const call = client.watchStatus({}, bearer(await mintToken(JWT_SECRET, { role: 'admin', subject: 'test' }, 60)))
  call.on('error', (error: ServiceError) => assert.equal(error.code, status.CANCELLED))
  const seen = call[Symbol.asyncIterator]()
  assert.equal((await seen.next() as IteratorResult<ClusterStatus__Output>).value.nodes[0]!.state, 'alive')
  state = { ...state, nodes: [{ id: 'n1', state: 'suspect' }] }
  assert.equal((await seen.next() as IteratorResult<ClusterStatus__Output>).value.nodes[0]!.state, 'suspect')
  call.cancel()
  const refused = client.watchStatus({}, new Metadata())
  await assert.rejects(async () => {
    for await (const answer of refused) assert.fail(`answered ${JSON.stringify(answer)}`)
  }, code(status.UNAUTHENTICATED))
})

/** A clock that is a minute late is forgiven: such a token holds for so many seconds. */
const tokenFor = (seconds: number): Promise<string> => mintToken(JWT_SECRET, { role: 'admin', subject: 'test' }, seconds - 60)

test('a watch ends when its token has expired, also where nobody reads', async () => {
  const client = keep(new ClusterService(`127.0.0.1:${server.port}`, plain))
  const calm = state
  for (const isRead of [true, false]) {
    // more than fits into any buffer on the way
    if (!isRead) state = { ...calm, warnings: ['x'.repeat(3_000_000)] }
    const call = client.watchStatus({}, bearer(await tokenFor(3)))
    const ended = new Promise<ServiceError>((resolve) => call.on('error', resolve))
    if (isRead) {
      const answers: unknown[] = []
      call.on('data', (answer) => answers.push(answer))
      assert.equal((await ended).code, status.UNAUTHENTICATED)
      assert.equal((await ended).details, 'the token has expired')
      assert.equal(answers.length, 1)
    } else {
      await new Promise((resolve) => setTimeout(resolve, 4500))
      call.on('data', () => {})
      assert.equal((await ended).code, status.UNAUTHENTICATED)
    }
  }
  state = calm
})

test('the client watches on over the end of its tokens, and shows each state once', async () => {
  const client = await clusterClient({ url: `http://127.0.0.1:${server.port}`, jwtSecret: JWT_SECRET, tokenSeconds: 2 - 60 })
  const calm = state
  try {
    const seen = client.watch()[Symbol.asyncIterator]()
    assert.deepEqual((await seen.next()).value.nodes.length, 1)
    const next = seen.next()
    let isOver = false
    void next.then(() => (isOver = true))
    // by then the first token has expired, and the second
    await new Promise((resolve) => setTimeout(resolve, 5500))
    assert.equal(isOver, false, 'nothing has changed')
    state = { ...calm, nodes: [] }
    assert.deepEqual((await next).value.nodes, [])
    await seen.return?.()
  } finally {
    state = calm
    client.close()
  }
  const stranger = await clusterClient({ url: `http://127.0.0.1:${server.port}`, jwtSecret: 'another secret, as long as it must be', tokenSeconds: 60 })
  await assert.rejects(stranger.watch()[Symbol.asyncIterator]().next(), /is JWT_SECRET that of the node/)
  stranger.close()
})

test('a second server on the same address is an error', async () => {
  await assert.rejects(startGrpcServer({
    listen: { host: '127.0.0.1', port: server.port }, tls: null, jwtSecret: JWT_SECRET, logger: pino({ level: 'silent' }),
    directory: { app: () => Promise.resolve(null) }, status: () => Promise.resolve(state),
  }))
})

test('TLS: a replaced certificate is served, one that does not fit is not', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'anvil-grpc-tls-'))
  const files = { certFile: join(dir, 'cert.pem'), keyFile: join(dir, 'key.pem') }
  const pair = (name: string): void => void execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=DNS:localhost', '-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.crt`),
  ], { stdio: 'ignore' })
  pair('one')
  pair('two')
  const use = (cert: string, key: string): void => {
    copyFileSync(join(dir, `${cert}.crt`), files.certFile)
    copyFileSync(join(dir, `${key}.key`), files.keyFile)
  }
  use('one', 'one')
  const secure = await start(files)
  try {
    const admin = bearer(await mintToken(JWT_SECRET, { role: 'admin', subject: 'test' }, 60))
    const trusting = (name: string) => credentials.createSsl(readFileSync(join(dir, `${name}.crt`)))
    await clusterStatus(admin, secure.port, trusting('one'))
    use('two', 'one')
    await assert.rejects(clusterStatus(admin, secure.port, trusting('two')))
    use('two', 'two')
    await until('the new certificate is served', async () => {
      try {
        await clusterStatus(admin, secure.port, trusting('two'))
        return true
      } catch {
        return false // not yet: the handshake fails
      }
    })
  } finally {
    await secure.close()
    rmSync(dir, { recursive: true })
  }
})
