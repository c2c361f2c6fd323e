import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GIB } from '../../shared/limits.ts'
import { generateSecrets } from '../secrets/generated.ts'
import type { Config } from './contract.ts'
import { loadConfig, mistakeLine, threadDefaults, type Environment } from './load.ts'
import { reachableAddresses, type PlatformFacts } from './platform.ts'

const facts: PlatformFacts = {
  workingDir: '/srv/anvil', cores: 8, memoryBytes: 16 * GIB, addresses: ['192.0.2.7', '2001:db8::7'], readable: (path) => path.startsWith('/srv/anvil/tls'),
}
const generated = generateSecrets()
const KEY = 'ab'.repeat(32)
const servers: Environment = {
  GLOBAL_DATABASE_URL: 'postgresql://u:p%40ss%2F@db:5432/global',
  REGIONAL_DATABASE_URL: 'postgres://u@db/regional',
  REGION: 'eu-west-1',
  JWT_SECRET: 'j'.repeat(16),
  ANVIL_SECRET_ENCRYPTION_KEY: KEY,
  ANVIL_CLUSTER_SECRET: 'c'.repeat(16),
}

function config(env: Environment, with_: Partial<PlatformFacts> = {}): Config {
  const loaded = loadConfig(env, { ...facts, ...with_ }, generated)
  assert.ok('config' in loaded, JSON.stringify(loaded))
  return loaded.config
}

function mistakes(env: Environment): Record<string, string> {
  const loaded = loadConfig(env, facts, generated)
  assert.ok('mistakes' in loaded, 'must be refused')
  return Object.fromEntries(loaded.mistakes.map((one) => [one.variable, `${one.was} | ${one.must}`]))
}

test('an empty environment gives the defaults of DESIGN §2', () => {
  const { encryptionKeys, ...rest } = config({})
  assert.equal(encryptionKeys.length, 1)
  assert.equal(encryptionKeys[0]!.key.toString('hex'), generated.encryptionKey)
  assert.match(encryptionKeys[0]!.id, /^[0-9a-f]{8}$/)
  assert.deepEqual(rest, {
    globalDatabaseUrl: null,
    regionalDatabaseUrl: null,
    region: 'local',
    jwtSecret: generated.jwtSecret,
    clusterSecrets: [generated.clusterSecret],
    http: { host: '0.0.0.0', port: 9000 },
    grpc: { host: '0.0.0.0', port: 50051 },
    quicBindAddr: '/ip4/0.0.0.0/udp/7443/quic-v1',
    publicAddrs: ['/ip4/192.0.2.7/udp/7443/quic-v1'],
    publicGrpcAddr: 'http://192.0.2.7:50051',
    mdns: true,
    bootstrapAddrs: [],
    dataDirs: ['/srv/anvil/anvil-data/drive1'],
    zone: '',
    erasureCode: 'auto',
    workers: 6,
    gatewayThreads: 2,
    tls: null,
    etag: 'md5',
    s3Domain: null,
    metrics: { host: '127.0.0.1', port: 9090 },
    stateDir: '/srv/anvil/anvil-data',
    memoryLimitBytes: 4 * GIB,
    allowUnprotectedWrites: false,
    rustLog: 'info',
    metadataCacheTtlMs: 300_000,
    scrubPeriodMs: 14 * 86_400_000,
    orphanAgeMs: 3_600_000,
    repairDelayMs: 900_000,
    metadataExportPeriodMs: 3_600_000,
    bootstrapAccessKey: null,
    bootstrapSecretKey: null,
  } satisfies Omit<Config, 'encryptionKeys'>)
})

test('an empty variable counts as not set', () => {
  assert.deepEqual(config(Object.fromEntries(Object.keys(servers).map((name) => [name, ' ']))), config({}))
})

test('with servers of its own a node takes everything from the environment', () => {
  const loaded = config(servers)
  assert.equal(loaded.globalDatabaseUrl, servers.GLOBAL_DATABASE_URL)
  assert.equal(loaded.region, 'eu-west-1')
  assert.equal(loaded.jwtSecret, 'j'.repeat(16))
})

test('with servers of its own every secret and the region are required, each with a line', () => {
  const found = mistakes({ GLOBAL_DATABASE_URL: servers.GLOBAL_DATABASE_URL, REGIONAL_DATABASE_URL: servers.REGIONAL_DATABASE_URL })
  assert.deepEqual(Object.keys(found).toSorted(), ['ANVIL_CLUSTER_SECRET', 'ANVIL_SECRET_ENCRYPTION_KEY', 'JWT_SECRET', 'REGION'])
})

test('exactly one database URL is a mistake', () => {
  assert.match(mistakes({ ...servers, GLOBAL_DATABASE_URL: '' }).GLOBAL_DATABASE_URL!, /^not set \| .*REGIONAL_DATABASE_URL is set/)
  assert.match(mistakes({ ...servers, REGIONAL_DATABASE_URL: undefined }).REGIONAL_DATABASE_URL!, /^not set \| .*GLOBAL_DATABASE_URL is set/)
})

test('database URLs: forms that pg takes', () => {
  for (const url of ['postgres://u:p%25@h/d', 'postgresql://u@[::1]:5432/d?sslmode=verify-full', 'postgres://u@/d?host=%2Frun&port=5432', 'postgres:///d?host=/run']) {
    assert.equal(config({ ...servers, GLOBAL_DATABASE_URL: url }).globalDatabaseUrl, url)
  }
  for (const url of ['mysql://u@h/d', 'postgres://h', 'postgres://h/', 'h:5432/d', 'postgres://u:p%zz@h/d', 'postgres:///d', 'postgres://u:pa#ss@h/d']) {
    assert.match(mistakes({ ...servers, GLOBAL_DATABASE_URL: url }).GLOBAL_DATABASE_URL!, /secret, \d+ characters.*percent-encoded/, url)
  }
})

test('no mistake repeats a secret', () => {
  const bad = { ...servers, GLOBAL_DATABASE_URL: 'postgres://u:hunter2%@h/d', JWT_SECRET: 'hunter2', ANVIL_CLUSTER_SECRET: 'hunter2', ANVIL_SECRET_ENCRYPTION_KEY: 'hunter2', ANVIL_BOOTSTRAP_SECRET_KEY: 'hunter2' }
  const loaded = loadConfig(bad, facts, generated)
  assert.ok('mistakes' in loaded)
  assert.ok(loaded.mistakes.length >= 5)
  assert.ok(!loaded.mistakes.map(mistakeLine).join('\n').includes('hunter2'))
})

test('keys rotate as a list, the current one first', () => {
  const loaded = config({ ...servers, ANVIL_SECRET_ENCRYPTION_KEY: `${'CD'.repeat(32)}, ${KEY}`, ANVIL_CLUSTER_SECRET: `${'n'.repeat(20)},${'o'.repeat(20)}` })
  assert.deepEqual(loaded.encryptionKeys.map(({ key }) => key.toString('hex')), ['cd'.repeat(32), KEY])
  assert.notEqual(loaded.encryptionKeys[0]!.id, loaded.encryptionKeys[1]!.id)
  assert.deepEqual(loaded.clusterSecrets, ['n'.repeat(20), 'o'.repeat(20)])
  assert.ok(mistakes({ ...servers, ANVIL_SECRET_ENCRYPTION_KEY: `${KEY},${KEY}` }).ANVIL_SECRET_ENCRYPTION_KEY)
})

const READ: [string, string, (config: Config) => unknown, unknown][] = [
  ['HTTP_BIND_ADDR', '127.0.0.1:0', (c) => c.http, { host: '127.0.0.1', port: 0 }],
  ['HTTP_BIND_ADDR', '[::]:9001', (c) => c.http, { host: '::', port: 9001 }],
  ['HTTP_BIND_ADDR', ':9001', (c) => c.http, { host: '0.0.0.0', port: 9001 }],
  ['GRPC_BIND_ADDR', '10.0.0.1:1', (c) => c.publicGrpcAddr, 'http://10.0.0.1:1'],
  ['QUIC_BIND_ADDR', '/ip4/10.0.0.1/udp/1/quic-v1', (c) => c.publicAddrs, ['/ip4/10.0.0.1/udp/1/quic-v1']],
  ['QUIC_BIND_ADDR', '/ip6/::/udp/7/quic-v1', (c) => c.publicAddrs, ['/ip4/192.0.2.7/udp/7/quic-v1', '/ip6/2001:db8::7/udp/7/quic-v1']],
  ['QUIC_BIND_ADDR', '/ip4/0.0.0.0/udp/0/quic-v1', (c) => c.publicAddrs, []],
  ['PUBLIC_ADDRS', '/dns/a/udp/1/quic-v1, /ip4/1.2.3.4/udp/2/quic-v1', (c) => c.publicAddrs, ['/dns/a/udp/1/quic-v1', '/ip4/1.2.3.4/udp/2/quic-v1']],
  ['PUBLIC_GRPC_ADDR', 'https://anvil.example:443/', (c) => c.publicGrpcAddr, 'https://anvil.example'],
  ['ENABLE_MDNS', 'False', (c) => c.mdns, false],
  ['BOOTSTRAP_ADDRS', '/ip6/2001:db8::1/udp/2/quic-v1,/dns6/h/udp/2/quic-v1,/dnsaddr/cluster.example', (c) => c.bootstrapAddrs.length, 3],
  ['BOOTSTRAP_ADDRS', '/ip4/1.2.3.4/udp/2/quic-v1/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf', (c) => c.bootstrapAddrs.length, 1],
  ['ANVIL_DATA_DIRS', 'a, /b/c,', (c) => c.dataDirs, ['/srv/anvil/a', '/b/c']],
  ['ANVIL_DATA_DIRS', 'none', (c) => c.dataDirs, []],
  ['ANVIL_STATE_DIR', '/s', (c) => [c.stateDir, c.dataDirs], ['/s', ['/s/drive1']]],
  ['ANVIL_ZONE', 'rack-7', (c) => c.zone, 'rack-7'],
  ['ANVIL_ERASURE_CODE', '4+2', (c) => c.erasureCode, { k: 4, m: 2 }],
  ['ANVIL_WORKERS', '3', (c) => c.workers, 3],
  ['ANVIL_GATEWAY_THREADS', '5', (c) => [c.gatewayThreads, c.workers], [5, 3]],
  ['ANVIL_GATEWAY_THREADS', '0', (c) => [c.gatewayThreads, c.workers], [0, 8]],
  ['ANVIL_ETAG', 'fast', (c) => c.etag, 'fast'],
  ['ANVIL_S3_DOMAIN', 'S3.Example.org', (c) => c.s3Domain, 's3.example.org'],
  ['ANVIL_MEMORY_LIMIT', '512MiB', (c) => c.memoryLimitBytes, 512 * 1024 * 1024],
  ['ANVIL_MEMORY_LIMIT', '1.5G', (c) => c.memoryLimitBytes, 1.5 * GIB],
  ['ANVIL_MEMORY_LIMIT', '2000000000', (c) => c.memoryLimitBytes, 2_000_000_000],
  ['ANVIL_ALLOW_UNPROTECTED_WRITES', 'true', (c) => c.allowUnprotectedWrites, true],
  ['METADATA_CACHE_TTL_SECS', '0', (c) => c.metadataCacheTtlMs, 0],
  ['REGION', 'eu-west-1', (c) => c.region, 'eu-west-1'],
]
for (const [variable, text, value, expected] of READ) {
  test(`${variable}=${text}`, () => assert.deepEqual(value(config({ [variable]: text })), expected))
}

const REFUSED: [string, string][] = [
  ['HTTP_BIND_ADDR', '9000'], ['HTTP_BIND_ADDR', 'h:65536'], ['HTTP_BIND_ADDR', '::1:9000'],
  ['QUIC_BIND_ADDR', '/ip4/0.0.0.0/tcp/7443'], ['QUIC_BIND_ADDR', '/dns/h/udp/7443/quic-v1'], ['QUIC_BIND_ADDR', '0.0.0.0:7443'],
  ['QUIC_BIND_ADDR', '/ip4/256.0.0.1/udp/7443/quic-v1'],
  ['PUBLIC_ADDRS', 'h:7443'], ['PUBLIC_ADDRS', '/ip4/0.0.0.0/udp/7443/quic-v1'], ['PUBLIC_ADDRS', '/ip6/1.2.3.4/udp/7443/quic-v1'], ['BOOTSTRAP_ADDRS', '/dns/h/udp/0/quic-v1'],
  ['BOOTSTRAP_ADDRS', '/ip4/1.2.3.4/udp/2/quic-v1/p2p/x'], ['BOOTSTRAP_ADDRS', '/dnsaddr/'], ['BOOTSTRAP_ADDRS', '/dnsaddr/h/udp/1/quic-v1'],
  ['PUBLIC_ADDRS', '/dnsaddr/cluster.example'],
  ['PUBLIC_GRPC_ADDR', 'h:50051'], ['ENABLE_MDNS', 'maybe'], ['REGION', 'EU West'],
  ['ANVIL_DATA_DIRS', 'a,./a'], ['ANVIL_DATA_DIRS', '/d,/d/e'], ['ANVIL_DATA_DIRS', ','], ['ANVIL_DATA_DIRS', Array.from({ length: 17 }, (_, i) => `/d${i}`).join()],
  ['ANVIL_ERASURE_CODE', '4+0'], ['ANVIL_ERASURE_CODE', '4-2'], ['ANVIL_ERASURE_CODE', '40+2'],
  ['ANVIL_WORKERS', '0'], ['ANVIL_WORKERS', '1e3'], ['ANVIL_GATEWAY_THREADS', '-1'],
  ['ANVIL_ETAG', 'MD5'], ['ANVIL_S3_DOMAIN', 'http://x'], ['ANVIL_MEMORY_LIMIT', '1MiB'], ['ANVIL_MEMORY_LIMIT', 'lots'],
  ['ANVIL_SECRET_ENCRYPTION_KEY', 'ab'], ['JWT_SECRET', 'short'], ['METADATA_CACHE_TTL_SECS', 'x'], ['ANVIL_ZONE', 'a b'],
  ['ANVIL_BOOTSTRAP_ACCESS_KEY', 'a/b'], ['ANVIL_TLS_CERT_FILE', 'elsewhere.pem'],
]
for (const [variable, text] of REFUSED) {
  test(`${variable}=${text.slice(0, 40)} is refused`, () => assert.ok(mistakes({ [variable]: text })[variable]))
}

test('several mistakes are told at once, a line each', () => {
  const loaded = loadConfig({ ANVIL_WORKERS: 'x', REGION: '!', ANVIL_ETAG: 'no' }, facts, generated)
  assert.ok('mistakes' in loaded)
  assert.deepEqual(loaded.mistakes.map(mistakeLine), [
    'REGION: was "!", must be lower-case letters, digits and dashes, at most 63, such as eu-west-1',
    'ANVIL_WORKERS: was "x", must be a whole number from 1 to 256',
    'ANVIL_ETAG: was "no", must be md5 or fast',
  ])
})

test('pairs come together', () => {
  assert.deepEqual(config({ ANVIL_TLS_CERT_FILE: 'tls.pem', ANVIL_TLS_KEY_FILE: '/srv/anvil/tls.key' }).tls, { certFile: '/srv/anvil/tls.pem', keyFile: '/srv/anvil/tls.key' })
  assert.match(config({ ANVIL_TLS_CERT_FILE: 'tls.pem', ANVIL_TLS_KEY_FILE: 'tls.key' }).publicGrpcAddr, /^https:/)
  assert.ok(mistakes({ ANVIL_TLS_CERT_FILE: 'tls.pem' }).ANVIL_TLS_KEY_FILE)
  assert.ok(mistakes({ ANVIL_BOOTSTRAP_ACCESS_KEY: 'access' }).ANVIL_BOOTSTRAP_SECRET_KEY)
  assert.ok(mistakes({ ANVIL_BOOTSTRAP_SECRET_KEY: 'secretsecret' }).ANVIL_BOOTSTRAP_ACCESS_KEY)
})

test('addresses that others can reach: IPv4 first, none of loopback, link-local or a bridge of containers', () => {
  const one = (address: string, internal = false) => ({
    address, internal, netmask: '', mac: '', cidr: null, ...(address.includes(':') ? { family: 'IPv6' as const, scopeid: 0 } : { family: 'IPv4' as const }),
  })
  assert.deepEqual(reachableAddresses({
    lo: [one('127.0.0.1', true), one('::1', true)], eth0: [one('2001:db8::1'), one('192.0.2.1'), one('fe80::1')], docker0: [one('172.17.0.1')], wg0: [one('10.8.0.1')],
  }), ['192.0.2.1', '10.8.0.1', '2001:db8::1'])
  assert.deepEqual(reachableAddresses({ docker0: [one('172.17.0.2')] }), ['172.17.0.2'], 'better than none')
})

test('an unknown ANVIL_ variable is a warning', () => {
  const loaded = loadConfig({ ANVIL_WORKER: '3', PATH: '/bin' }, facts, generated)
  assert.ok('warnings' in loaded)
  assert.deepEqual(loaded.warnings, ['ANVIL_WORKER is set, but Anvil has no setting of that name'])
})

test('threads follow the cores', () => {
  assert.deepEqual([1, 2, 3, 4, 8, 16].map((cores) => threadDefaults(cores)), [
    { gatewayThreads: 0, workers: 1 },
    { gatewayThreads: 0, workers: 2 },
    { gatewayThreads: 1, workers: 2 },
    { gatewayThreads: 1, workers: 3 },
    { gatewayThreads: 2, workers: 6 },
    { gatewayThreads: 4, workers: 12 },
  ])
})
