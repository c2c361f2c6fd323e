/** A deployment grows out of the embedded Postgres and moves to servers of its own. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { NodeProcess } from '../support/node-process.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { read, sameBytes } from './objects/context.ts'
import { runNow, status, untilStatus } from './status.ts'

const Bucket = 'moving'
const SIZES = [10, 5000, 200_000, 3_000_000]
const key = (i: number): string => `key ${i}`

let node: NodeProcess
let servers: TestPostgres
before(async () => {
  servers = await startPostgres()
  node = await NodeProcess.started({ drives: 3, env: { ANVIL_ORPHAN_AGE_SECS: '1' } })
})
after(async () => {
  await node?.dispose()
  await servers?.stop()
})

it('moves with every object; the drives keep everything until an operator confirms; the old databases are not used again', async () => {
  const s3 = node.s3()
  await s3.send(new CreateBucketCommand({ Bucket }))
  for (const [i, size] of SIZES.entries()) await s3.send(new PutObjectCommand({ Bucket, Key: key(i), Body: bytes(size, i), ServerSideEncryption: i % 2 === 0 ? 'AES256' : undefined }))
  const file = join(node.dir, 'moved.export')
  const early = await node.anvil('admin', 'metadata', 'export', '--to', node.dir)
  assert.match(early.stderr, /a node runs/)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'late', Body: bytes(100_000, 9) }))
  await node.stop()
  assert.match(await node.admin('metadata', 'export', '--to', file), /moved\.export: the metadata of deployment/)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.ok(!readFileSync(file, 'latin1').includes(node.credentials.secretAccessKey), 'secrets are wrapped')
  assert.match((await node.anvil('admin', 'metadata', 'export', '--to', file)).stderr, /is there already/)

  // the settings of the move: the secrets that were generated, and two empty databases
  const kept = JSON.parse(readFileSync(join(node.stateDir, 'secrets.json'), 'utf8')) as Record<string, string>
  await servers.database('anvil_global')
  await servers.database('anvil_regional')
  const url = (database: string): string => servers.url.replace('/postgres?', `/${database}?`)
  const own = {
    GLOBAL_DATABASE_URL: url('anvil_global'), REGIONAL_DATABASE_URL: url('anvil_regional'), REGION: 'local', JWT_SECRET: kept['jwtSecret']!,
    ANVIL_SECRET_ENCRYPTION_KEY: kept['encryptionKey']!, ANVIL_CLUSTER_SECRET: kept['clusterSecret']!,
  }
  Object.assign(node.env, own, { ANVIL_SECRET_ENCRYPTION_KEY: 'ab'.repeat(32) })
  assert.match((await node.anvil('admin', 'metadata', 'import', '--from', file)).stderr, /^anvil: ANVIL_SECRET_ENCRYPTION_KEY lacks key/)
  Object.assign(node.env, own, { REGION: 'elsewhere' })
  assert.match((await node.anvil('admin', 'metadata', 'import', '--from', file)).stderr, /^anvil: the export is of region local, REGION is elsewhere/)
  Object.assign(node.env, own)
  assert.match(await node.admin('metadata', 'import', '--from', file), /imported \d+ rows/)
  assert.match((await node.anvil('admin', 'metadata', 'import', '--from', file)).stderr, /not empty/)

  await node.start()
  const moved = node.s3()
  for (const [i, size] of SIZES.entries()) sameBytes(await read(await moved.send(new GetObjectCommand({ Bucket, Key: key(i) }))), bytes(size, i), key(i))
  sameBytes(await read(await moved.send(new GetObjectCommand({ Bucket, Key: 'late' }))), bytes(100_000, 9))
  await moved.send(new DeleteObjectCommand({ Bucket, Key: key(2) }))
  await moved.send(new PutObjectCommand({ Bucket, Key: 'after the move', Body: bytes(200_000, 7) }))

  const paused = await untilStatus(node, 'removal is paused', ({ background }) => background.removalPaused !== '')
  assert.match(paused.background.removalPaused, /removal confirm/)
  await runNow(node)
  assert.equal((await status(node)).metadata.garbage, 1)
  await node.admin('removal', 'confirm')
  await untilStatus(node, 'what was deleted is removed after the operator confirmed', ({ metadata, background }) => background.removalPaused === '' && metadata.garbage === 0)
  await node.stop()

  for (const name of Object.keys(own)) delete node.env[name]
  for (const command of [['--init-cluster'], ['admin', 'app', 'list']]) {
    const { code, stderr, stdout } = await node.anvil(...command)
    assert.notEqual(code, 0)
    assert.match(stderr + stdout, /the metadata of this node is on .*anvil_global and .*set GLOBAL_DATABASE_URL/)
  }
  // the way back is there, on purpose only
  rmSync(join(node.stateDir, 'database-servers.json'))
  await node.start()
  const keys = (await node.s3().send(new ListObjectsV2Command({ Bucket }))).Contents?.map(({ Key }) => Key)
  assert.deepEqual(keys, [...SIZES.keys().map(key), 'late'])
  await untilStatus(node, 'removal is paused again', ({ background }) => background.removalPaused !== '')
})
