/** Nodes of one cluster on loopback, in processes of their own: they join, serve each other's objects, die and come back. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { Load } from '../support/load.ts'
import { bytes } from '../support/bytes.ts'
import { clusterState, TestCluster } from '../support/cluster.ts'
import type { NodeProcess } from '../support/node-process.ts'
import { signedRequest } from '../support/raw-http.ts'
import { s3Path } from '../support/sigv4.ts'
import { until } from '../support/until.ts'
import { sameBytes } from './objects/context.ts'
import { status, untilStatus, type Status } from './status.ts'

const MIB = 1024 * 1024
const BUCKET = 'cluster'
/** Inline, one stripe, several stripes. */
const SIZES = [200, 9000, 300_000, 3 * MIB + 7]
const LOAD_SIZES = [200, 9000, 100_000]

/** Objects that were acknowledged: key to seed and size. */
const written = new Map<string, { seed: number; size: number }>()
let seeds = 0

const put = (node: NodeProcess, key: string, body: Buffer) =>
  signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(BUCKET, key), body })
const get = (node: NodeProcess, key: string) =>
  signedRequest(node.port, node.credentials, { method: 'GET', path: s3Path(BUCKET, key) })

/** Writes one object of each size; every write must be acknowledged. */
async function write(cluster: TestCluster, node: NodeProcess): Promise<string[]> {
  return Promise.all(SIZES.map(async (size) => {
    const seed = ++seeds
    const key = `object-${seed}`
    const answer = await put(node, key, bytes(size, seed))
    assert.equal(answer.status, 200, `${key}: ${answer.text}\n${cluster.logTails()}`)
    written.set(key, { seed, size })
    return key
  }))
}

/** Reads everything that was acknowledged; `or` is the one other status that is allowed. Answers how many could be read. */
async function readAll(cluster: TestCluster, node: NodeProcess, or?: 503): Promise<number> {
  let readable = 0
  const waiting = [...written]
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop()) {
      const [key, { seed, size }] = entry
      const answer = await get(node, key)
      if (answer.status === or) continue
      assert.equal(answer.status, 200, `${key}: ${answer.text}\n${cluster.logTails()}`)
      sameBytes(answer.body, bytes(size, seed), key)
      readable++
    }
  }))
  return readable
}

/** Groups with data and a code of six drives that have more shards in one zone than they may lose. */
const CROWDED = `
  SELECT g.id, n.zone FROM placement_groups g, unnest(g.members) AS member(drive_id) JOIN drives d USING (drive_id) JOIN nodes n USING (node_id)
  WHERE g.k = 4 AND n.zone <> '' AND EXISTS (SELECT FROM blobs b WHERE b.pg_id = g.id AND b.refs > 0) GROUP BY g.id, n.zone, g.m HAVING count(*) > g.m`

async function clusterStatus(node: NodeProcess): Promise<{ redundancy: { singleDriveAtRisk: boolean; singleNodeAtRisk: boolean; singleZoneAtRisk: boolean }; warnings: string[] }> {
  const { code, stdout, stderr } = await node.anvil('cluster', 'status', '--json')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout)
}

// the tests are steps of one story: together they may take longer than one may
describe('a cluster that grows to six in three zones and loses nodes', { timeout: 900_000 }, () => {
  let cluster: TestCluster
  before(async () => {
    cluster = await TestCluster.started({
      nodes: 1,
      // two nodes in each zone; the seventh names none
      envOf: (index) => ({
        ...(index < 6 && { ANVIL_ZONE: 'abc'[Math.floor(index / 2)]! }),
        // one of them serves from threads of its own, which see the cluster through messages
        ...(index === 1 && { ANVIL_GATEWAY_THREADS: '2' }),
      }),
    })
    await cluster.first.s3().send(new CreateBucketCommand({ Bucket: BUCKET }))
    await write(cluster, cluster.first)
  })
  after(() => cluster?.dispose())

  const code = async (node: NodeProcess) => (await clusterState(node)).code

  test('nodes that join are members within seconds, and new shards lie on them', async (t) => {
    await Promise.all(Array.from({ length: 4 }, () => cluster.add()))
    await cluster.untilWhole()
    // the sixth joins by the address of another one than the first
    const newcomer = await cluster.prepare([], { BOOTSTRAP_ADDRS: cluster.addressOf(cluster.node(3)) })
    const { readyMs } = await newcomer.start()
    await cluster.untilWhole()
    t.diagnostic(`the sixth node was ready ${Math.round(readyMs)} ms after its process was started`)
    for (const node of cluster.nodes) assert.equal(await code(node), '4+2')
    await write(cluster, cluster.node(2))
    const { driveStats } = (await newcomer.adminSocket('GET', '/status')) as Status
    assert.ok(driveStats[0]!.shards >= 3, `the newcomer holds ${driveStats[0]!.shards} shards`)
  })

  test('what is written through one node is read through every other', async () => {
    for (const node of cluster.nodes) await write(cluster, node)
    for (const node of cluster.nodes) assert.equal(await readAll(cluster, node), written.size)
  })

  test('no group has more shards in a zone than it may lose, and the status says that a zone may go', async () => {
    assert.deepEqual(await cluster.sql(CROWDED), [])
    await until('any one zone may be lost', async () => {
      for (const node of cluster.nodes) await node.adminSocket('POST', '/run-now')
      return !(await clusterStatus(cluster.node(3))).redundancy.singleZoneAtRisk
    }, { timeoutMs: 90_000, everyMs: 1000, detail: () => cluster.logTails() })
    assert.match((await cluster.node(3).anvil('cluster', 'status')).stdout, /any one drive, node or zone may be lost/)
  })

  test('a bucket that is made through one node is there for the others at once', async () => {
    // asked for before, so that its absence is known by heart
    for (const node of cluster.nodes) assert.equal((await signedRequest(node.port, node.credentials, { method: 'HEAD', path: '/told' })).status, 404)
    await cluster.node(1).s3().send(new CreateBucketCommand({ Bucket: 'told' }))
    for (const node of cluster.nodes) {
      await until('the bucket is known', async () => (await signedRequest(node.port, node.credentials, { method: 'HEAD', path: '/told' })).status === 200)
    }
  })

  test('an app that is disabled on one host is refused by all at once', async () => {
    const made = JSON.parse(await cluster.first.admin('app', 'create', '--name', 'guest', '--json')) as { accessKey: string; secretKey: string }
    await cluster.first.admin('policy', 'grant', '--app', made.accessKey, '--action', '*', '--resource', BUCKET)
    await cluster.first.admin('policy', 'grant', '--app', made.accessKey, '--action', '*', '--resource', `${BUCKET}/*`)
    const guest = { accessKeyId: made.accessKey, secretAccessKey: made.secretKey }
    const key = [...written.keys()][0]!
    const read = async (node: NodeProcess) => (await signedRequest(node.port, guest, { method: 'GET', path: s3Path(BUCKET, key) })).status
    for (const node of cluster.nodes) assert.equal(await read(node), 200)
    await cluster.first.admin('app', 'disable', '--app', made.accessKey)
    for (const node of cluster.nodes) await until('it is refused', async () => (await read(node)) === 403)
  })

  test('a gateway without drives serves all of it', async () => {
    const gateway = await cluster.add([], { ANVIL_DATA_DIRS: 'none' })
    await cluster.untilWhole()
    assert.equal(await code(gateway), '4+2')
    await write(cluster, gateway)
    assert.equal(await readAll(cluster, gateway), written.size)
    assert.deepEqual(await gateway.stop(), { code: 0, signal: null })
    await until('its goodbye is heard', async () => (await clusterState(cluster.first)).members.some((member) => member.state === 'left'))
    cluster.nodes.pop()
    await gateway.dispose()
  })

  test('with two of six, a whole zone, killed under load everything is read, and writes go on within seconds', async (t) => {
    const survivors = cluster.nodes.slice(0, 4)
    const load = new Load({ bucket: BUCKET, nodes: () => survivors, perSecond: 50, sizes: LOAD_SIZES }, written)
    await sleep(2000)
    const killedMs = performance.now()
    await Promise.all([cluster.node(4).kill(), cluster.node(5).kill()])
    await sleep(8000)
    await load.stop()
    assert.deepEqual(load.requests.filter((one) => one.wrong), [])
    assert.deepEqual(load.failures(0, killedMs - 1000), [], cluster.logTails())
    const lastMs = Math.max(0, ...load.failures(killedMs).map((one) => one.startedMs - killedMs))
    t.diagnostic(`${load.requests.length} requests, ${load.failures(0).length} failed, the last of them began ${Math.round(lastMs)} ms after the kill`)
    // on a machine of its own it is a second: what began before the shard plane knew that two are gone
    assert.ok(lastMs < 6000, `a request that began ${lastMs} ms after the kill failed: ${JSON.stringify(load.failures(killedMs).at(-1))}\n${cluster.logTails()}`)
    for (const node of survivors.slice(0, 2)) assert.equal(await readAll(cluster, node), written.size)
    await until('the status warns that nothing more may go', async () => {
      const { redundancy, warnings } = await clusterStatus(cluster.node(1))
      return redundancy.singleDriveAtRisk && redundancy.singleZoneAtRisk && warnings.some((line) => /^the loss of one more drive loses data: \d+ placement groups? can spare no shard/.test(line))
    }, { everyMs: 1000, detail: () => cluster.logTails() })
  })

  test('with three of six killed reads answer 503 where shards are missing, never wrong bytes; all is well when one returns', async () => {
    await cluster.node(3).kill()
    await sleep(1500)
    const readable = await readAll(cluster, cluster.node(1), 503)
    assert.ok(readable < written.size, 'what lies in 4+2 cannot be read from three drives')
    await cluster.node(3).start()
    await until('everything is read again', async () => (await readAll(cluster, cluster.node(1), 503)) === written.size, { detail: () => cluster.logTails() })
    await Promise.all([cluster.node(4).start(), cluster.node(5).start()])
    await cluster.untilWhole()
    for (const node of cluster.nodes) assert.equal(await code(node), '4+2')
  })

  test('what the nodes missed is filled in: any other two may go then', async () => {
    await untilStatus(cluster.first, 'nothing waits for repair', ({ metadata }) => metadata.repairs === 0)
    const away = [cluster.first, cluster.node(1)]
    await Promise.all(away.map((node) => node.stop()))
    assert.equal(await readAll(cluster, cluster.node(5)), written.size)
    await Promise.all(away.map((node) => node.start()))
    await cluster.untilWhole()
  })

  test('a seventh node joins under load, takes new shards and leaves again: no request fails', async (t) => {
    const old = [...cluster.nodes]
    const load = new Load({ bucket: BUCKET, nodes: () => old, perSecond: 50, sizes: LOAD_SIZES }, written)
    const newcomer = await cluster.add()
    const readyMs = performance.now()
    await until('it holds shards', async () => ((await newcomer.adminSocket('GET', '/status')) as Status).driveStats[0]!.shards > 0, { everyMs: 50 })
    t.diagnostic(`the newcomer held shards ${Math.round(performance.now() - readyMs)} ms after it was ready`)
    await sleep(1000)
    assert.deepEqual(await newcomer.stop(), { code: 0, signal: null })
    await sleep(1000)
    await load.stop()
    assert.deepEqual(load.failures(0), [], cluster.logTails())
    assert.deepEqual(load.requests.filter((one) => one.wrong), [])
    assert.equal(await readAll(cluster, cluster.first), written.size)
    await newcomer.start()
    await cluster.untilWhole()
  })

  test('a paused node stalls no write', async () => {
    cluster.node(2).signal('SIGSTOP')
    try {
      await write(cluster, cluster.node(1))
      assert.equal(await readAll(cluster, cluster.node(1)), written.size)
    } finally {
      cluster.node(2).signal('SIGCONT')
    }
    await cluster.untilWhole()
  })

  test('the first node is back in its cluster without any bootstrap address, also under a new address and in another zone', async (t) => {
    const { nodeId } = (await clusterState(cluster.first)).members.find((member) => member.addrs.includes(cluster.addressOf(cluster.first)))!
    await cluster.first.stop()
    cluster.first.env['QUIC_BIND_ADDR'] = '/ip4/127.0.0.1/udp/0/quic-v1'
    cluster.first.env['ANVIL_ZONE'] = 'b'
    await cluster.first.start()
    await cluster.untilWhole()
    const again = (await clusterState(cluster.node(1))).members.find((member) => member.nodeId === nodeId)
    assert.equal(again?.state, 'alive')
    assert.ok(!again.addrs.includes('/ip4/127.0.0.1/udp/0/quic-v1'))
    assert.equal(await readAll(cluster, cluster.first), written.size)
    const crowded = await cluster.sql(CROWDED)
    t.diagnostic(`${crowded.length} groups had three shards in its new zone`)
    await until('no group has more than two there', async () => {
      for (const node of cluster.nodes) await node.adminSocket('POST', '/run-now')
      return (await cluster.sql(CROWDED)).length === 0
    }, { timeoutMs: 120_000, everyMs: 1000, detail: () => cluster.logTails() })
    assert.equal(await readAll(cluster, cluster.first), written.size)
  })

  test('all of them killed at once and started again: what was acknowledged is there', async () => {
    await write(cluster, cluster.first)
    await Promise.all(cluster.nodes.map((node) => node.kill()))
    await Promise.all(cluster.nodes.slice(0, 4).map((node) => node.start()))
    await Promise.all(cluster.nodes.slice(4).map((node) => node.start()))
    await cluster.untilWhole()
    assert.equal(await readAll(cluster, cluster.node(1)), written.size)
    await write(cluster, cluster.node(2))
  })
})

test('two hosts with three drives each: either may go; when one is gone for good, what is left is protected anew', async (t) => {
  written.clear()
  const cluster = await TestCluster.started({ nodes: 2, drives: 3 })
  try {
    const [one, other] = cluster.nodes as [NodeProcess, NodeProcess]
    assert.equal((await clusterState(one)).code, '3+3')
    await one.s3().send(new CreateBucketCommand({ Bucket: BUCKET }))
    await write(cluster, one)
    await write(cluster, other)
    await other.kill()
    assert.equal(await readAll(cluster, one), written.size)
    await until('a write is acknowledged', async () => (await put(one, 'alone', bytes(50_000, 1))).status === 200, { detail: () => cluster.logTails() })
    written.set('alone', { seed: 1, size: 50_000 })
    await until('the warning is there', async () => (await status(one)).health.warnings.some((line) => line.includes('the loss of')), { detail: () => cluster.logTails() })
    await other.start()
    await cluster.untilWhole()
    assert.equal((await clusterState(other)).code, '3+3')
    await untilStatus(other, 'nothing waits for repair', ({ metadata }) => metadata.repairs === 0)
    const protectedBy = async (code: string) => {
      const rows = await cluster.sql<{ n: number }>(`SELECT count(*)::int AS n FROM blobs b JOIN placement_groups g ON g.id = b.pg_id WHERE b.refs > 0 AND g.k || '+' || g.m <> $1`, [code])
      if (rows[0]!.n === 0) return true
      for (const node of cluster.running) await node.adminSocket('POST', '/run-now')
      return false
    }
    const everyBlob = { everyMs: 500, timeoutMs: 60_000, detail: () => cluster.logTails() }
    await until('all is 3+3', () => protectedBy('3+3'), everyBlob)
    await one.stop()
    await untilStatus(other, 'the other host is alone', ({ health }) => health.code === '1+2')
    assert.equal(await readAll(cluster, other), written.size)
    const goneMs = performance.now()
    await other.admin('repair', 'now')
    await until('all is 1+2 on the three drives that are left', () => protectedBy('1+2'), everyBlob)
    t.diagnostic(`${written.size} objects were protected anew ${Math.round(performance.now() - goneMs)} ms after the repair was asked for`)
    assert.equal(await readAll(cluster, other), written.size)
  } finally {
    await cluster.dispose()
  }
})

test('a node waits while the global database holds no deployment, and a port for peers that is taken stops the start', async () => {
  const cluster = await TestCluster.started({ nodes: 1 })
  try {
    const { first } = cluster
    const second = await cluster.prepare([], { QUIC_BIND_ADDR: cluster.addressOf(first) })
    second.launch()
    assert.equal((await second.exit).code, 2, second.logTail())
    assert.match(second.log(), /QUIC_BIND_ADDR is \/ip4\/127\.0\.0\.1\/udp\/\d+\/quic-v1, must be an address that this node can listen on alone: .*in use/i)

    await cluster.postgres.database('empty')
    const early = await cluster.prepare([], { GLOBAL_DATABASE_URL: cluster.postgres.url.replace('/postgres?', '/empty?') })
    early.launch()
    await until('it says what it waits for', () => /holds no deployment yet; waiting until its first node was started with --init-cluster/.test(early.log()))
    assert.ok(early.running)
  } finally {
    await cluster.dispose()
  }
})
