/**
 * Reads the settings of one node (DESIGN §2) from its environment. Pure: the same environment and facts give the same
 * answer, and every mistake is found at once. load-node-config.ts adds the files that a node keeps.
 */
import { isAbsolute, join, relative, resolve } from 'node:path'
import { MAX_DRIVES_PER_NODE, MIB } from '../../shared/limits.ts'
import type { GeneratedSecrets } from '../secrets/generated.ts'
import { keyId } from '../secrets/keyring.ts'
import type { Config, ConfigMistake } from './contract.ts'
import type { PlatformFacts } from './platform.ts'
import * as form from './values.ts'
import type { Read } from './values.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export type LoadedConfig = { config: Config; warnings: string[] } | { mistakes: ConfigMistake[] }

/** Everything that is read; an ANVIL_* variable beside these is likely misspelt. */
const VARIABLES = [
  'GLOBAL_DATABASE_URL', 'REGIONAL_DATABASE_URL', 'REGION', 'JWT_SECRET', 'ANVIL_SECRET_ENCRYPTION_KEY', 'ANVIL_CLUSTER_SECRET',
  'HTTP_BIND_ADDR', 'GRPC_BIND_ADDR', 'QUIC_BIND_ADDR', 'PUBLIC_ADDRS', 'PUBLIC_GRPC_ADDR', 'ENABLE_MDNS', 'BOOTSTRAP_ADDRS',
  'ANVIL_DATA_DIRS', 'ANVIL_ZONE', 'ANVIL_ERASURE_CODE', 'ANVIL_WORKERS', 'ANVIL_GATEWAY_THREADS', 'ANVIL_TLS_CERT_FILE',
  'ANVIL_TLS_KEY_FILE', 'ANVIL_ETAG', 'ANVIL_S3_DOMAIN', 'ANVIL_METRICS_BIND_ADDR', 'ANVIL_STATE_DIR', 'ANVIL_MEMORY_LIMIT',
  'ANVIL_ALLOW_UNPROTECTED_WRITES', 'RUST_LOG', 'METADATA_CACHE_TTL_SECS', 'ANVIL_BOOTSTRAP_ACCESS_KEY', 'ANVIL_BOOTSTRAP_SECRET_KEY',
  'ANVIL_SCRUB_PERIOD_SECS', 'ANVIL_ORPHAN_AGE_SECS', 'ANVIL_METADATA_EXPORT_PERIOD_SECS', 'ANVIL_REPAIR_DELAY_SECS',
] as const
export type Variable = (typeof VARIABLES)[number]

const MIN_SECRET_CHARACTERS = 16
const MIN_MEMORY_BYTES = 64 * MIB
const MAX_THREADS = 256

/**
 * @param generated the secrets that the embedded default uses where the environment gives none
 * @returns the settings with warnings (lines for the log), or every mistake
 */
export function loadConfig(env: Environment, facts: PlatformFacts, generated: GeneratedSecrets): LoadedConfig {
  const settings = new Settings(env)
  const { text, read } = settings

  const globalDatabaseUrl = read('GLOBAL_DATABASE_URL', form.databaseUrl, null)
  const regionalDatabaseUrl = read('REGIONAL_DATABASE_URL', form.databaseUrl, null)
  const embedded = text('GLOBAL_DATABASE_URL') === null && text('REGIONAL_DATABASE_URL') === null
  if (!embedded) {
    settings.require('GLOBAL_DATABASE_URL', 'a Postgres URL, since REGIONAL_DATABASE_URL is set (or neither, for the embedded Postgres)')
    settings.require('REGIONAL_DATABASE_URL', 'a Postgres URL, since GLOBAL_DATABASE_URL is set (or neither, for the embedded Postgres)')
    settings.require('REGION', 'the name of this node\'s region, such as eu-west-1')
    settings.require('JWT_SECRET', `a secret of at least ${MIN_SECRET_CHARACTERS} characters, the same on every node`)
    settings.require('ANVIL_SECRET_ENCRYPTION_KEY', '64 hex digits, the same on every node (openssl rand -hex 32)')
    settings.require('ANVIL_CLUSTER_SECRET', `a secret of at least ${MIN_SECRET_CHARACTERS} characters, the same on every node`)
  }

  const path = (value: string) => resolve(facts.workingDir, value)
  const stateDir = path(text('ANVIL_STATE_DIR') ?? './anvil-data')
  const http = read('HTTP_BIND_ADDR', form.hostPort, { host: '0.0.0.0', port: 9000 })
  const grpc = read('GRPC_BIND_ADDR', form.hostPort, { host: '0.0.0.0', port: 50051 })
  const quicBindAddr = read('QUIC_BIND_ADDR', (value) => form.multiaddr(value, 'bind'), '/ip4/0.0.0.0/udp/7443/quic-v1')
  const tls = tlsFiles(settings, facts, path)
  const defaults = threadDefaults(facts.cores)
  const gatewayThreads = read('ANVIL_GATEWAY_THREADS', (value) => form.integer(value, 0, MAX_THREADS), defaults.gatewayThreads)

  const config: Config = {
    globalDatabaseUrl,
    regionalDatabaseUrl,
    region: read('REGION', form.regionName, 'local'),
    jwtSecret: read('JWT_SECRET', longEnough, generated.jwtSecret),
    encryptionKeys: read('ANVIL_SECRET_ENCRYPTION_KEY', encryptionKeys, keysOf(generated.encryptionKey)),
    clusterSecrets: read('ANVIL_CLUSTER_SECRET', clusterSecrets, [generated.clusterSecret]),
    http,
    grpc,
    quicBindAddr,
    publicAddrs: read('PUBLIC_ADDRS', dialAddrs, publicAddrsOf(quicBindAddr, facts)),
    publicGrpcAddr: read('PUBLIC_GRPC_ADDR', form.webUrl, publicUrlOf(grpc, tls !== null, facts)),
    mdns: read('ENABLE_MDNS', form.boolean, true),
    bootstrapAddrs: read('BOOTSTRAP_ADDRS', (value) => form.listOf(value, form.bootstrapAddr), []),
    dataDirs: read('ANVIL_DATA_DIRS', (value) => dataDirs(value, path), [join(stateDir, 'drive1')]),
    zone: read('ANVIL_ZONE', zone, ''),
    erasureCode: read('ANVIL_ERASURE_CODE', form.erasureCode, 'auto'),
    workers: read('ANVIL_WORKERS', (value) => form.integer(value, 1, MAX_THREADS), Math.max(1, facts.cores - gatewayThreads)),
    gatewayThreads,
    tls,
    etag: read('ANVIL_ETAG', (value) => form.oneOf(value, ['md5', 'fast']), 'md5'),
    s3Domain: read('ANVIL_S3_DOMAIN', form.domain, null),
    metrics: read('ANVIL_METRICS_BIND_ADDR', form.hostPort, { host: '127.0.0.1', port: 9090 }),
    stateDir,
    memoryLimitBytes: read('ANVIL_MEMORY_LIMIT', (value) => form.bytes(value, MIN_MEMORY_BYTES), Math.max(MIN_MEMORY_BYTES, Math.floor(facts.memoryBytes / 4))),
    allowUnprotectedWrites: read('ANVIL_ALLOW_UNPROTECTED_WRITES', form.boolean, false),
    rustLog: text('RUST_LOG') ?? 'info',
    metadataCacheTtlMs: read('METADATA_CACHE_TTL_SECS', (value) => form.integer(value, 0, 86_400), 300) * 1000,
    scrubPeriodMs: read('ANVIL_SCRUB_PERIOD_SECS', (value) => form.integer(value, 60, 366 * 86_400), 14 * 86_400) * 1000,
    orphanAgeMs: read('ANVIL_ORPHAN_AGE_SECS', (value) => form.integer(value, 1, 30 * 86_400), 3600) * 1000,
    repairDelayMs: read('ANVIL_REPAIR_DELAY_SECS', (value) => form.integer(value, 1, 30 * 86_400), 900) * 1000,
    metadataExportPeriodMs: read('ANVIL_METADATA_EXPORT_PERIOD_SECS', (value) => form.integer(value, 0, 30 * 86_400), 3600) * 1000,
    bootstrapAccessKey: read('ANVIL_BOOTSTRAP_ACCESS_KEY', accessKey, null),
    bootstrapSecretKey: read('ANVIL_BOOTSTRAP_SECRET_KEY', secretKey, null),
  }
  settings.requireBoth('ANVIL_BOOTSTRAP_ACCESS_KEY', 'ANVIL_BOOTSTRAP_SECRET_KEY')
  return settings.mistakes.length > 0 ? { mistakes: settings.mistakes } : { config, warnings: unknownVariables(env) }
}

/**
 * Threads where the settings give none. On one or two cores the gateway runs on the main thread, since a thread of its own
 * would only take turns with it. Above, a quarter of the cores parse requests and the rest encode.
 */
export function threadDefaults(cores: number): { gatewayThreads: number; workers: number } {
  const gatewayThreads = cores <= 2 ? 0 : Math.max(1, Math.floor(cores / 4))
  return { gatewayThreads, workers: Math.max(1, cores - gatewayThreads) }
}

/** One line per mistake, for standard error. */
export const mistakeLine = (mistake: ConfigMistake): string => `${mistake.variable}: was ${mistake.was}, must be ${mistake.must}`

/** Variables whose text is never repeated in a message. */
const SECRET = new Set<Variable>([
  'GLOBAL_DATABASE_URL', 'REGIONAL_DATABASE_URL', 'JWT_SECRET', 'ANVIL_SECRET_ENCRYPTION_KEY', 'ANVIL_CLUSTER_SECRET', 'ANVIL_BOOTSTRAP_SECRET_KEY',
])

/** The environment with what was found wrong in it. A variable that is empty counts as not set. */
class Settings {
  readonly mistakes: ConfigMistake[] = []
  readonly #env: Environment

  constructor(env: Environment) {
    this.#env = env
  }

  readonly text = (variable: Variable): string | null => this.#env[variable]?.trim() || null

  readonly read = <T>(variable: Variable, read: (text: string) => Read<T>, absent: T): T => {
    const text = this.text(variable)
    if (text === null) return absent
    const result = read(text)
    if ('value' in result) return result.value
    this.mistake(variable, result.must)
    return absent
  }

  mistake(variable: Variable, must: string): void {
    const text = this.text(variable)
    const was = text === null ? 'not set' : SECRET.has(variable) ? `(secret, ${text.length} characters)` : JSON.stringify(text)
    this.mistakes.push({ variable, was, must })
  }

  require(variable: Variable, must: string): void {
    if (this.text(variable) === null) this.mistake(variable, must)
  }

  requireBoth(one: Variable, other: Variable): void {
    if (this.text(one) !== null) this.require(other, `set, since ${one} is`)
    if (this.text(other) !== null) this.require(one, `set, since ${other} is`)
  }
}

function tlsFiles(settings: Settings, facts: PlatformFacts, path: (value: string) => string): Config['tls'] {
  const file = (value: string): Read<string | null> =>
    facts.readable(path(value)) ? { value: path(value) } : { must: 'a PEM file that this process can read' }
  settings.requireBoth('ANVIL_TLS_CERT_FILE', 'ANVIL_TLS_KEY_FILE')
  const certFile = settings.read('ANVIL_TLS_CERT_FILE', file, null)
  const keyFile = settings.read('ANVIL_TLS_KEY_FILE', file, null)
  return certFile !== null && keyFile !== null ? { certFile, keyFile } : null
}

function longEnough(text: string): Read<string> {
  return text.length >= MIN_SECRET_CHARACTERS ? { value: text } : { must: `a secret of at least ${MIN_SECRET_CHARACTERS} characters` }
}

function clusterSecrets(text: string): Read<string[]> {
  const must = { must: `secrets of at least ${MIN_SECRET_CHARACTERS} characters, separated by commas, the current one first` }
  const secrets = form.list(text)
  return secrets.length > 0 && secrets.every((one) => one.length >= MIN_SECRET_CHARACTERS) ? { value: secrets } : must
}

function encryptionKeys(text: string): Read<Config['encryptionKeys']> {
  const must = { must: '64 hex digits; several different keys separated by commas while they rotate, the current one first' }
  const digits = form.list(text).map((one) => one.toLowerCase())
  if (digits.length === 0 || new Set(digits).size !== digits.length || !digits.every((one) => /^[0-9a-f]{64}$/.test(one))) return must
  return { value: digits.flatMap(keysOf) }
}

function keysOf(hexDigits: string): Config['encryptionKeys'] {
  const key = Buffer.from(hexDigits, 'hex')
  return [{ id: keyId(key), key }]
}

function dialAddrs(text: string): Read<string[]> {
  return form.listOf(text, (item) => form.multiaddr(item, 'dial'))
}

/** What ANVIL_DATA_DIRS says for a node that serves requests and keeps no data. */
const NO_DRIVES = 'none'

function dataDirs(text: string, path: (value: string) => string): Read<string[]> {
  if (text === NO_DRIVES) return { value: [] }
  const folders = form.list(text).map(path)
  if (folders.length < 1 || folders.length > MAX_DRIVES_PER_NODE) {
    return { must: `1 to ${MAX_DRIVES_PER_NODE} folders, separated by commas, or "${NO_DRIVES}" for a gateway without drives` }
  }
  const overlap = folders.some((one, i) => folders.some((other, j) => i !== j && isInside(one, other)))
  return overlap ? { must: 'different folders, none within another: each is a failure domain of its own' } : { value: folders }
}

/** Whether `inner` is `outer`, or lies in it. */
function isInside(inner: string, outer: string): boolean {
  const way = relative(outer, inner)
  return way === '' || (way !== '..' && !way.startsWith('../') && !isAbsolute(way))
}

function zone(text: string): Read<string> {
  return /^[\x21-\x7e]{1,128}$/.test(text) ? { value: text } : { must: 'a name of at most 128 visible ASCII characters without blanks' }
}

function accessKey(text: string): Read<string | null> {
  return /^[A-Za-z0-9_.-]{3,128}$/.test(text) ? { value: text } : { must: '3 to 128 letters, digits, dots, dashes or underscores' }
}

function secretKey(text: string): Read<string | null> {
  return text.length >= 8 && text.length <= 256 ? { value: text } : { must: '8 to 256 characters' }
}

const UNSPECIFIED = new Set(['0.0.0.0', '::'])

/** What peers dial when PUBLIC_ADDRS says nothing: the bind address, or every address of this host if it binds them all. None for port 0. */
export function publicAddrsOf(quicBindAddr: string, facts: Pick<PlatformFacts, 'addresses'>): string[] {
  const [, family, address = '', , port] = quicBindAddr.split('/')
  if (port === '0') return []
  if (!UNSPECIFIED.has(address)) return [quicBindAddr]
  const reachable = facts.addresses.filter((one) => (family === 'ip6' ? true : !one.includes(':')))
  const hosts = reachable.length > 0 ? reachable : [family === 'ip6' ? '::1' : '127.0.0.1']
  return hosts.map((one) => `/${one.includes(':') ? 'ip6' : 'ip4'}/${one}/udp/${port}/quic-v1`)
}

function publicUrlOf(bind: { host: string; port: number }, tls: boolean, facts: PlatformFacts): string {
  const host = UNSPECIFIED.has(bind.host) ? (facts.addresses[0] ?? '127.0.0.1') : bind.host
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${bind.port}`
}

function unknownVariables(env: Environment): string[] {
  const known = new Set<string>(VARIABLES)
  return Object.keys(env)
    .filter((name) => name.startsWith('ANVIL_') && !known.has(name))
    .toSorted()
    .map((name) => `${name} is set, but Anvil has no setting of that name`)
}
