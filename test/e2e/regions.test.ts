/** Two regions of one deployment, three nodes each: one global database, one regional each. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  CreateBucketCommand, DeleteBucketCommand, GetBucketEncryptionCommand, GetObjectCommand, HeadBucketCommand, ListBucketsCommand, PutBucketEncryptionCommand,
  PutObjectCommand, type S3ServiceException,
} from '@aws-sdk/client-s3'
import { Client } from 'pg'
import { clusterState, TestCluster } from '../support/cluster.ts'
import type { NodeProcess } from '../support/node-process.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'

const EUROPE = 'europe-west-1'
const AMERICA = 'america-east-1'
const NODES = 3
/** What an operator is promised, and time for a busy machine. */
const HOLDS_WITHIN_MS = 3000
const PATIENCE_MS = 30_000
/** Of one node, at the end. */
const SHORT_TTL_SECS = 2

let global: TestPostgres
let europe: TestCluster
let america: TestCluster

before(async () => {
  global = await startPostgres({ settings: { max_connections: '300' } })
  const common = { nodes: NODES, globalDatabaseUrl: global.url }
  ;[europe, america] = await Promise.all([
    TestCluster.created({ ...common, region: EUROPE }),
    TestCluster.created({ ...common, region: AMERICA }),
  ])
  const [, first] = await Promise.all([europe.add(['--init-cluster']), america.prepare()])
  // a seed of another region is no way into it
  first.env['BOOTSTRAP_ADDRS'] = europe.addressOf(europe.first)
})
after(async () => {
  await Promise.all([europe, america].map((region) => region?.dispose()))
  await global.stop()
})

const failing = async (work: Promise<unknown>): Promise<S3ServiceException> => {
  try {
    await work
  } catch (error) {
    return error as S3ServiceException
  }
  assert.fail('it did not fail')
}

const regionOf = (node: NodeProcess): string => node.env['REGION']!
/** Each region has one that everything is tried with. */
const bucketOf = (node: NodeProcess): string => (regionOf(node) === EUROPE ? 'alps' : 'rockies')
const s3 = (node: NodeProcess, region = regionOf(node)) => node.s3({ region })
const textOf = async (node: NodeProcess, Bucket: string, Key: string, region = regionOf(node)): Promise<string> =>
  (await s3(node, region).send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToString()

/** True or false; anything but the errors that are expected is one. */
const succeeds = async (work: Promise<unknown>, ...expected: (string | number)[]): Promise<boolean> => {
  try {
    await work
    return true
  } catch (error) {
    const { name, $metadata } = error as S3ServiceException
    assert.ok(expected.includes(name) || expected.includes($metadata?.httpStatusCode ?? 0), String(error))
    return false
  }
}

/** How long it took until it held on each of them, asked side by side. */
const heldAfterMs = async (what: string, nodes: readonly NodeProcess[], holds: (node: NodeProcess) => Promise<boolean>): Promise<number> => {
  const sinceMs = performance.now()
  await Promise.all(nodes.map((node) => until(`${what} on ${node.endpoint}`, () => holds(node), { timeoutMs: PATIENCE_MS, everyMs: 20, detail: () => node.logTail() })))
  return Math.round(performance.now() - sinceMs)
}

const globalSql = async (...statements: string[]): Promise<void> => {
  const client = new Client(global.config)
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

/** Runs `work` while the change sequence of the global database records no bucket: whoever asks for changes hears of none. */
const withoutChangeSequence = async (work: () => Promise<void>): Promise<void> => {
  await globalSql('ALTER TABLE buckets DISABLE TRIGGER bucket_changed')
  try {
    await work()
  } finally {
    await globalSql('ALTER TABLE buckets ENABLE TRIGGER bucket_changed')
  }
}

test('a node whose region is not registered says which command registers it', async () => {
  const { code, stderr } = await america.first.anvil()
  assert.notEqual(code, 0)
  assert.match(stderr, /region america-east-1 \(REGION\) is not registered: run `anvil admin regions create --name america-east-1`/)
})

test('a new region: its database, its name, and a node without any flag; three nodes in each, clusters of their own', async () => {
  assert.match(await america.first.admin('migrate', '--regional'), /applied/)
  assert.match(await america.first.admin('regions', 'create', '--name', AMERICA), /registered/)
  await Promise.all([europe.complete(), america.first.start().then(() => america.complete())])
  const regions = JSON.parse(await europe.node(1).admin('regions', 'list', '--json')) as { name: string; endpoint: string }[]
  assert.deepEqual(regions.map(({ name }) => name), [AMERICA, EUROPE])
  const [inEurope, inAmerica] = await Promise.all([europe, america].map(async (region) => (await clusterState(region.first)).members.map(({ nodeId }) => nodeId)))
  assert.equal(new Set([...inEurope!, ...inAmerica!]).size, 2 * NODES, 'nobody is a member of both')
  const { problems } = await until('the seed in another region is told', async () => {
    const state = await clusterState(america.first)
    return state.problems.length > 0 ? state : null
  }, { timeoutMs: PATIENCE_MS })
  assert.deepEqual(problems.map(({ kind }) => kind), ['wrong-region'])
})

test('a bucket lives where it was made; any node elsewhere says where', async () => {
  await s3(europe.first).send(new CreateBucketCommand({ Bucket: 'alps', CreateBucketConfiguration: { LocationConstraint: EUROPE as never } }))
  await s3(america.first).send(new CreateBucketCommand({ Bucket: 'rockies' }))
  await s3(europe.node(1)).send(new PutObjectCommand({ Bucket: 'alps', Key: 'k', Body: 'from europe' }))
  await s3(america.node(1)).send(new PutObjectCommand({ Bucket: 'rockies', Key: 'k', Body: 'from america' }))
  for (const node of europe.nodes) assert.equal(await textOf(node, 'alps', 'k'), 'from europe')
  for (const node of america.nodes) assert.equal(await textOf(node, 'rockies', 'k'), 'from america')

  const endpoints = europe.nodes.map(({ endpoint }) => new URL(endpoint).host)
  for (const node of america.nodes) {
    for (const region of [AMERICA, EUROPE]) {
      const redirect = await failing(textOf(node, 'alps', 'k', region))
      assert.equal(redirect.name, 'PermanentRedirect')
      assert.equal(redirect.$metadata.httpStatusCode, 301)
      assert.ok(endpoints.includes((redirect as { Endpoint?: string }).Endpoint!), JSON.stringify(redirect))
      assert.equal(redirect.$response?.headers['x-amz-bucket-region'], EUROPE)
    }
    const malformed = await failing(textOf(node, 'alps', 'k', 'asia-south-1'))
    assert.equal(malformed.name, 'AuthorizationHeaderMalformed')
    assert.equal((malformed as { Region?: string }).Region, EUROPE)
    const listed = await s3(node).send(new ListBucketsCommand({}))
    assert.deepEqual(listed.Buckets?.map(({ Name, BucketRegion }) => [Name, BucketRegion]), [['alps', EUROPE], ['rockies', AMERICA]])
  }
  const elsewhere = new CreateBucketCommand({ Bucket: 'andes', CreateBucketConfiguration: { LocationConstraint: AMERICA as never } })
  assert.equal((await failing(s3(europe.node(2)).send(elsewhere))).name, 'IllegalLocationConstraintException')
})

test('what changes through one node holds on all nodes of its region by its gossip event', async () => {
  // Nothing else can tell them: the change sequence is silent, and caches in Europe live for five minutes.
  await withoutChangeSequence(async () => {
    const others = europe.nodes.slice(1)
    const encrypted = async (node: NodeProcess): Promise<boolean> =>
      succeeds(s3(node).send(new GetBucketEncryptionCommand({ Bucket: 'alps' })), 'ServerSideEncryptionConfigurationNotFoundError')
    for (const node of europe.nodes) assert.equal(await encrypted(node), false)
    const rules = { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }] }
    await s3(europe.first).send(new PutBucketEncryptionCommand({ Bucket: 'alps', ServerSideEncryptionConfiguration: rules }))
    const encryptionMs = await heldAfterMs('the default encryption holds', others, encrypted)

    await s3(europe.first).send(new CreateBucketCommand({ Bucket: 'jura' }))
    const known = (node: NodeProcess): Promise<boolean> => succeeds(s3(node).send(new HeadBucketCommand({ Bucket: 'jura' })), 404)
    await heldAfterMs('the new bucket is known', others, known)
    await s3(europe.node(1)).send(new DeleteBucketCommand({ Bucket: 'jura' }))
    const deletionMs = await heldAfterMs('the bucket is gone', [europe.first, europe.node(2)], async (node) => !(await known(node)))
    console.log(`in its region a bucket's encryption held on the other nodes after ${encryptionMs} ms, its deletion after ${deletionMs} ms, by gossip alone`)
  })
})

test('what changes in one region holds on all nodes of the other within seconds', async () => {
  const made = JSON.parse(await europe.first.admin('app', 'create', '--name', 'traveller', '--json')) as { accessKey: string; secretKey: string }
  const policy = (verb: 'grant' | 'revoke') => europe.first.admin('policy', verb, '--app', 'traveller', '--action', 'object:read', '--resource', '*')
  const credentials = { accessKeyId: made.accessKey, secretAccessKey: made.secretKey }
  const readable = (node: NodeProcess): Promise<boolean> =>
    succeeds(node.s3({ region: regionOf(node), credentials }).send(new GetObjectCommand({ Bucket: bucketOf(node), Key: 'k' })), 'AccessDenied', 'InvalidAccessKeyId')
  const all = [...europe.nodes, ...america.nodes]
  await policy('grant')
  await heldAfterMs('the grant holds', all, readable)
  await policy('revoke')
  const unreadable = async (node: NodeProcess): Promise<boolean> => !(await readable(node))
  const [, tookMs] = await Promise.all([europe, america].map(({ nodes }) => heldAfterMs('the revocation holds', nodes, unreadable)))
  console.log(`a revocation held on all nodes of the other region ${tookMs} ms after its command; promised: ${HOLDS_WITHIN_MS}`)
})

test('known buckets and apps work from the cache of each node while the global database is down', async () => {
  const all = [...europe.nodes, ...america.nodes]
  for (const node of all) await textOf(node, bucketOf(node), 'k')
  await global.kill9()
  await Promise.all(all.map(async (node, i) => {
    await s3(node).send(new PutObjectCommand({ Bucket: bucketOf(node), Key: `cached-${i}`, Body: 'from the cache' }))
    assert.equal(await textOf(node, bucketOf(node), `cached-${i}`), 'from the cache')
  }))
  const making = () => s3(europe.first).send(new CreateBucketCommand({ Bucket: 'later' }))
  assert.equal((await failing(making())).$metadata.httpStatusCode, 503)
  await global.restart()
  await until('buckets can be made again', () => succeeds(making(), 503), { timeoutMs: PATIENCE_MS })
})

test('a region goes on while the other is down', async () => {
  await america.postgres.kill9()
  await Promise.all(america.nodes.map(async (node) => assert.equal((await failing(textOf(node, 'rockies', 'k'))).$metadata.httpStatusCode, 503)))
  await Promise.all(america.nodes.map((node) => node.kill()))
  for (const [i, node] of europe.nodes.entries()) {
    await s3(node).send(new CreateBucketCommand({ Bucket: `alone-${i}` }))
    await s3(node).send(new PutObjectCommand({ Bucket: 'alps', Key: `alone-${i}`, Body: 'still here' }))
    assert.equal(await textOf(europe.node((i + 1) % NODES), 'alps', `alone-${i}`), 'still here')
    // known here, served there
    assert.equal((await failing(textOf(node, 'rockies', 'k'))).$metadata.httpStatusCode, 301)
  }
  await america.postgres.restart()
  america.first.env['METADATA_CACHE_TTL_SECS'] = String(SHORT_TTL_SECS)
  await Promise.all(america.nodes.map((node) => node.start()))
  await Promise.all(america.nodes.map((node) => until('america serves again', () => succeeds(textOf(node, 'rockies', 'k'), 503), { timeoutMs: PATIENCE_MS })))
})

test('a lost event costs no more than METADATA_CACHE_TTL_SECS', async () => {
  const [quick, slow] = [america.first, america.node(1)]
  const readable = async (node: NodeProcess): Promise<boolean> => (await fetch(`${node.endpoint}/rockies/k`)).status === 200
  assert.deepEqual([await readable(quick), await readable(slow)], [false, false])
  await globalSql("UPDATE buckets SET public_access = true WHERE name = 'rockies'")
  // the slow one knows it from the change sequence, and so has nothing left to hear
  await heldAfterMs('the public access holds', [quick, slow], readable)
  await withoutChangeSequence(async () => {
    await globalSql("UPDATE buckets SET public_access = false WHERE name = 'rockies'")
    const tookMs = await heldAfterMs('the end of public access holds', [quick], async (node) => !(await readable(node)))
    console.log(`a change without any event held after ${tookMs} ms; METADATA_CACHE_TTL_SECS ${SHORT_TTL_SECS}`)
    assert.equal(await readable(slow), true, 'it was not its time to live that told the other')
  })
})
