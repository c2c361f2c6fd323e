/** What an operator sees of a running node: `anvil cluster status`, `/metrics`. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { TestCluster } from '../support/cluster.ts'
import { NodeProcess } from '../support/node-process.ts'
import { until } from '../support/until.ts'
import { flipBytes } from './corruption.ts'
import { sameBytes } from './objects/context.ts'

let node: NodeProcess

before(async () => {
  node = await NodeProcess.started({ drives: 2, env: { ANVIL_GATEWAY_THREADS: '2', ANVIL_WORKERS: '1' } })
})
after(() => node.dispose())

interface Status {
  region: string
  nodes: { id: string; region: string; zone: string; addrs: string[]; state: string; drives: { state: string; path: string }[] }[]
  redundancy: { code: string; singleNodeAtRisk: boolean; singleDriveAtRisk: boolean }
  metadata: { global: { state: string; embedded: boolean } }
}

test('anvil cluster status: a table for people, one object for programs', async () => {
  const { code, stdout, stderr } = await node.anvil('cluster', 'status', '--json')
  assert.equal(code, 0, stderr)
  const status = JSON.parse(stdout) as Status
  assert.deepEqual(status.nodes.map(({ region, zone, state }) => ({ region, zone, state })), [{ region: 'local', zone: '', state: 'alive' }])
  assert.deepEqual(status.nodes[0]!.drives.map(({ state, path }) => ({ state, path })).sort((a, b) => (a.path < b.path ? -1 : 1)),
    node.drives.map((path) => ({ state: 'online', path })))
  assert.deepEqual(status.redundancy.code, '1+1')
  assert.deepEqual([status.redundancy.singleDriveAtRisk, status.redundancy.singleNodeAtRisk], [false, true])
  assert.deepEqual(status.metadata.global, { state: 'ok', reason: '', embedded: true })

  const table = await node.anvil('cluster', 'status')
  assert.equal(table.code, 0, table.stderr)
  assert.match(table.stdout, new RegExp(`${status.nodes[0]!.id} +alive`))
})

test('who has another JWT_SECRET is told so; a node that is not there too', async () => {
  node.env['JWT_SECRET'] = 'f'.repeat(64)
  const refused = await node.anvil('cluster', 'status')
  delete node.env['JWT_SECRET']
  assert.equal(refused.code, 1, refused.stderr)
  assert.match(refused.stderr, /JWT_SECRET/)
  const alone = await node.anvil('cluster', 'status', '--host', 'http://127.0.0.1:9')
  assert.equal(alone.code, 1, alone.stderr)
  assert.match(alone.stderr, /http:\/\/127\.0\.0\.1:9 did not answer/)
})

test('/metrics adds up what all threads did', async () => {
  const s3 = node.s3()
  await s3.send(new CreateBucketCommand({ Bucket: 'seen' }))
  const requests = Array.from({ length: 8 }, (_, i) => `key-${i}`)
  for (const Key of requests) await s3.send(new PutObjectCommand({ Bucket: 'seen', Key, Body: Buffer.alloc(100_000, 1) }))
  for (const Key of requests) await (await s3.send(new GetObjectCommand({ Bucket: 'seen', Key }))).Body!.transformToByteArray()
  const answer = await fetch(`http://${node.env['ANVIL_METRICS_BIND_ADDR']}/metrics`)
  assert.equal(answer.status, 200)
  const text = await answer.text()
  const value = (sample: string): number => Number(text.split('\n').find((line) => line.startsWith(`${sample} `))?.slice(sample.length + 1))
  assert.equal(value('anvil_s3_requests_total{operation="PutObject",status="200"}'), 8)
  assert.equal(value('anvil_s3_request_duration_seconds_count{operation="GetObject"}'), 8)
  assert.ok(value('anvil_s3_received_bytes_total') >= 800_000)
  assert.ok(value('anvil_s3_sent_bytes_total') >= 800_000)
  assert.ok(value('anvil_metadata_batch_rows_sum') >= 8)
  assert.equal(value('anvil_database_up{database="regional"}'), 1)
  assert.equal(value('anvil_members{state="alive"}'), 1)
  assert.match(text, /^anvil_gossip_health \d+$/m)
  assert.match(text, /anvil_drive_fsyncs_total\{drive="[0-9a-f]{32}"/)
  assert.match(text, /anvil_event_loop_lag_seconds\{thread="gateway-2"/)
  assert.equal((await fetch(`http://${node.env['ANVIL_METRICS_BIND_ADDR']}/other`)).status, 404)
})

test('what a peer logs about a shard names the request of the gateway', async () => {
  const cluster = await TestCluster.started({ nodes: 3 })
  try {
    const [near, far] = [cluster.first, cluster.node(1)]
    const s3 = near.s3()
    await s3.send(new CreateBucketCommand({ Bucket: 'traced' }))
    const keys = Array.from({ length: 24 }, (_, i) => `key-${i}`)
    for (const Key of keys) await s3.send(new PutObjectCommand({ Bucket: 'traced', Key, Body: bytes(300_000, 1) }))
    assert.ok(flipBytes(far.drives[0]!) > 0)
    const requestIds: string[] = []
    for (const Key of keys) {
      const { Body, $metadata } = await s3.send(new GetObjectCommand({ Bucket: 'traced', Key }))
      sameBytes(Buffer.from(await Body!.transformToByteArray()), bytes(300_000, 1), Key)
      requestIds.push($metadata.requestId!)
    }
    const line = await until('the peer tells of a damaged shard', () => jsonLines(far).find(({ msg }) => msg.startsWith("a read of a peer's shard failed")), {
      timeoutMs: 20_000, detail: () => cluster.logTails(),
    })
    assert.ok(requestIds.includes(line.requestId!), JSON.stringify(line))
  } finally {
    await cluster.dispose()
  }
})

/** The lines of a node's log that are of pino. */
const jsonLines = (node: NodeProcess): { msg: string; requestId?: string }[] =>
  node.log().split('\n').filter((text) => text.startsWith('{') && text.endsWith('}')).map((text) => JSON.parse(text) as { msg: string; requestId?: string })
