/** The embedded Postgres is lost; its export on the drives brings the metadata back, with a drive missing as well. */
import assert from 'node:assert/strict'
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { NodeProcess } from '../support/node-process.ts'
import { read, sameBytes } from './objects/context.ts'
import { runNow, status, untilStatus } from './status.ts'

const Bucket = 'kept'
const SIZES = [10, 5000, 200_000, 2_000_000]
const key = (i: number): string => `key ${i}`

let node: NodeProcess
before(async () => {
  node = await NodeProcess.started({ drives: 6, env: { ANVIL_METADATA_EXPORT_PERIOD_SECS: '3600', ANVIL_ORPHAN_AGE_SECS: '1' } })
})
after(() => node?.dispose())

async function readsBack(s3: S3Client): Promise<void> {
  for (const [i, size] of SIZES.entries()) sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: key(i) }))), bytes(size, i), key(i))
}
const losePostgres = (): void => rmSync(join(node.stateDir, 'postgres'), { recursive: true })

it('restores from the drives, twice, with one drive of six missing; what the export names is not removed before the next one', async () => {
  const s3 = node.s3()
  await s3.send(new CreateBucketCommand({ Bucket }))
  for (const [i, size] of SIZES.entries()) await s3.send(new PutObjectCommand({ Bucket, Key: key(i), Body: bytes(size, i), ServerSideEncryption: i % 2 === 0 ? 'AES256' : undefined }))
  assert.match(await node.admin('status'), /one copy, in the embedded Postgres; not stored on the drives yet/)
  assert.match(await node.admin('metadata', 'store-export'), /^stored on the drives as of /)
  assert.match(await node.admin('status'), /last stored on the drives as of 20/)

  // after the export: one is deleted, one overwritten, one is new
  await s3.send(new DeleteObjectCommand({ Bucket, Key: key(2) }))
  await s3.send(new PutObjectCommand({ Bucket, Key: key(3), Body: bytes(500_000, 77) }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'newer', Body: bytes(300_000, 8) }))
  await runNow(node)
  await runNow(node)
  assert.equal((await status(node)).metadata.garbage, 2, 'garbage that the export still names waits for the next one')

  await node.kill()
  const postmaster = node.postmasterPid()
  if (postmaster !== null) node.killPostgres()
  losePostgres()
  renameSync(node.drives[1]!, `${node.drives[1]!}.away`)
  const restored = await node.anvil('admin', 'metadata', 'restore')
  assert.equal(restored.code, 0, restored.stderr)
  assert.match(restored.stdout, /restored \d+ rows .* as of 20/)
  assert.match(restored.stderr, /drive2 holds no drive \(missing\)/)
  assert.match((await node.anvil('admin', 'metadata', 'restore')).stderr, /not empty/)

  await node.start()
  await readsBack(node.s3())
  const keys = (await node.s3().send(new ListObjectsV2Command({ Bucket }))).Contents?.map(({ Key }) => Key)
  assert.deepEqual(keys, [...SIZES.keys().map(key)], 'newer objects are not listed')
  const paused = await untilStatus(node, 'removal is paused', ({ background }) => background.removalPaused !== '')
  assert.match(paused.background.removalPaused, /removal confirm/)
  const shards = (of: typeof paused): number => of.driveStats.reduce((sum, drive) => sum + drive.shards, 0)
  await runNow(node)
  assert.equal(shards(await status(node)), shards(paused), 'what is newer than the export still lies there')
  await node.s3().send(new PutObjectCommand({ Bucket, Key: 'after', Body: bytes(300_000, 5) }))
  await node.admin('metadata', 'store-export')
  await node.stop()

  // once more, from an export that the restored database made
  losePostgres()
  await node.admin('metadata', 'restore')
  renameSync(`${node.drives[1]!}.away`, node.drives[1]!)
  await node.start()
  await readsBack(node.s3())
  sameBytes(await read(await node.s3().send(new GetObjectCommand({ Bucket, Key: 'after' }))), bytes(300_000, 5))
  await node.admin('removal', 'confirm')
  // a suspect goes once both exports that are kept were made after it was condemned
  await untilStatus(node, 'what nothing lists is condemned', ({ background, metadata }) => background.removalPaused === '' && metadata.condemned > 0)
  await node.admin('metadata', 'store-export')
  await node.admin('metadata', 'store-export')
  // what lies in groups that were opened after the export is left to people: the restored database does not know them
  await untilStatus(node, 'removal goes on: what nothing lists was judged', ({ background }) => {
    const counters = background.tasks.find(({ name }) => name === 'orphan collection')?.counters ?? {}
    return background.removalPaused === '' && (counters['shards removed'] ?? 0) + (counters['shards of unknown groups'] ?? 0) > 0
  })
  await readsBack(node.s3())
})
