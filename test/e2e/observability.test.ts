/** What an operator sees of a running node: `anvil cluster status`, `/metrics`. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { NodeProcess } from '../support/node-process.ts'

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
