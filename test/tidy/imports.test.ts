/** Dependencies point one way: shared <- pure cores <- adapters <- gateway, grpc, maintenance <- the composition root. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { handWritten, type Source } from './sources.ts'

/** A folder of src/main. In the table `metadata/contract` is that room's contract.ts alone: types, no behaviour. */
type Room = string

const every = '*'

/** Who may import whom, besides itself. `src/main/*.ts` are the composition root, in the table as `node`. */
const allowed: Record<Room, Room[]> = {
  shared: [],
  workers: ['shared'],
  // pure: no sockets, files or clocks of their own
  placement: ['shared', 'metadata/contract'],
  gossip: ['shared', 'membership/contract'],
  // adapters: each knows one thing of the outside
  secrets: ['shared'],
  observability: ['shared'],
  config: ['shared', 'secrets'],
  postgres: ['shared', 'secrets', 'observability', 'config/contract'],
  metadata: ['shared', 'postgres', 'observability'],
  directory: ['shared', 'postgres', 'secrets', 'observability', 'config/contract'],
  drives: ['shared', 'placement', 'secrets', 'observability', 'metadata/contract'],
  transport: ['shared', 'secrets', 'observability', 'config/contract'],
  membership: ['shared', 'gossip', 'transport', 'placement', 'observability', 'metadata/contract'],
  cluster: ['shared', 'placement', 'drives', 'transport', 'observability', 'membership/contract', 'metadata/contract'],
  objects: ['shared', 'placement', 'secrets', 'observability', 'metadata/contract', 'directory/contract'],
  // protocols and background work
  gateway: ['shared', 'observability', 'config/contract', 'objects/contract', 'metadata/contract', 'directory/contract'],
  grpc: ['shared', 'observability', 'objects/contract', 'metadata/contract', 'directory/contract'],
  maintenance: ['shared', 'placement', 'observability', 'drives', 'objects/contract', 'metadata/contract', 'directory/contract'],
  // composition: a gateway's runtime (also inside a thread), the node, the commands
  gateways: [
    'shared', 'placement', 'secrets', 'observability', 'config/contract', 'postgres', 'metadata', 'directory', 'objects', 'gateway', 'membership/contract',
  ],
  node: [every],
  cli: [every],
}

/** Packages that are known in few places. */
const homes: Record<string, string[]> = {
  'uWebSockets.js': ['src/main/gateway/http/'],
  piscina: ['src/main/worker-pool.ts', 'src/workers/'],
  pg: ['src/main/postgres/', 'src/main/metadata/', 'src/main/directory/', 'src/main/gateways/', 'src/main/cli/'],
  'pg-copy-streams': ['src/main/metadata/'],
  commander: ['src/main/cli/'],
  '@grpc/grpc-js': ['src/main/grpc/', 'src/main/cli/grpc-client.ts'],
  jose: ['src/main/grpc/'],
  'prom-client': ['src/main/observability/', 'src/main/node-metrics.ts'],
  libp2p: ['src/main/transport/'],
  '@chainsafe/libp2p-quic': ['src/main/transport/'],
  '@libp2p/interface': ['src/main/transport/'],
  '@libp2p/mdns': ['src/main/transport/'],
  '@libp2p/peer-id': ['src/main/transport/'],
  '@multiformats/multiaddr': ['src/main/transport/'],
}

/** Generated; for the compiler alone. */
const ADDON_TYPES = 'native/addon/index.d.ts'

const sources = handWritten(['src'], ['.ts'])
const production = sources.filter(({ file }) => !file.endsWith('.test.ts'))

test('every room is in the table', () => {
  assert.deepEqual([...new Set(sources.map(({ file }) => roomOf(file)))].filter((room) => allowed[room] === undefined), [])
})

test('rooms import only what the table allows', () => {
  const wrong = production.flatMap((source) => {
    const from = roomOf(source.file)
    return localImports(source)
      .filter((target) => target !== ADDON_TYPES && !mayImport(from, target))
      .map((target) => `${source.file} imports ${target}`)
  })
  assert.deepEqual(wrong, [])
})

test('nothing in src imports tests, benches or scripts, and only tests import tests', () => {
  const wrong = production.flatMap((source) =>
    localImports(source)
      // The addon's generated types are for the compiler alone: they check the contract by hand against the real thing.
      .filter((target) => target !== ADDON_TYPES && (!target.startsWith('src/') || target.endsWith('.test.ts')))
      .map((target) => `${source.file} imports ${target}`),
  )
  assert.deepEqual(wrong, [])
})

test('packages stay in their homes', () => {
  const wrong = production.flatMap((source) =>
    specifiers(source)
      .filter((name) => homes[name] !== undefined && !homes[name].some((home) => source.file.startsWith(home)))
      .map((name) => `${source.file} imports ${name}`),
  )
  assert.deepEqual(wrong, [])
})

test('uWebSockets.js is loaded by its loader alone', () => {
  const typesOnly = /import type [^'"]+from 'uWebSockets\.js'/g
  const wrong = production.filter(({ file, text }) => file !== 'src/main/gateway/http/load-uws.ts' && /from 'uWebSockets\.js'/.test(text.replace(typesOnly, '')))
  assert.deepEqual(wrong.map(({ file }) => file), [])
})

test('the addon is named by its loader alone', () => {
  const wrong = production.filter(({ file, text }) => file !== 'src/shared/load-native.ts' && /['"`/]anvil\.node['"`]/.test(text))
  assert.deepEqual(wrong.map(({ file }) => file), [])
})

function mayImport(from: Room, target: string): boolean {
  const to = roomOf(target)
  const rules = allowed[from] ?? []
  // Workers and shared never reach into the main thread's code, and only the commands know the commands.
  if (rules.includes(every)) return to !== 'cli' || from === 'cli'
  return to === from || rules.includes(to) || (target.endsWith('/contract.ts') && rules.includes(`${to}/contract`))
}

/** `src/main/objects/writer.ts` -> objects; `src/main/node.ts` -> node; `src/shared/ids.ts` -> shared. */
function roomOf(file: string): Room {
  const [, top = '', second = '', ...rest] = file.split('/')
  if (top !== 'main') return top
  return rest.length === 0 ? 'node' : second
}

function localImports(source: Source): string[] {
  return specifiers(source)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => path.join(path.dirname(source.file), specifier))
}

function specifiers({ text }: Source): string[] {
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '')
}
