/** Many clients overwrite, copy and delete the same few keys; afterwards every blob ever sealed is referenced or gone. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteObjectCommand,
  DeleteObjectsCommand, GetObjectCommand, PutObjectCommand, UploadPartCommand, type S3Client,
} from '@aws-sdk/client-s3'
import { bytes, md5 } from '../support/bytes.ts'
import { NodeProcess } from '../support/node-process.ts'
import { until } from '../support/until.ts'
import { accountForEveryShard } from './accounting.ts'
import { read } from './objects/context.ts'
import { beginUpload, send } from './raw-upload.ts'

const MIB = 1024 * 1024
const BUCKET = 'crowded'
const OTHER = 'crowded-too'
const CLIENTS = 24
const TURNS = 40
const KEYS = 5
const SIZES = [100, 5000, 20_000, 130_000, 140_000, 1_200_000]

let node: NodeProcess
let s3: S3Client

before(async () => {
  node = await NodeProcess.started({ drives: 3, env: { ANVIL_ORPHAN_AGE_SECS: '1' } })
  s3 = node.s3()
  for (const Bucket of [BUCKET, OTHER]) await s3.send(new CreateBucketCommand({ Bucket }))
})
after(() => node?.dispose())

/** What may go wrong in the crowd without being a fault: the key was just deleted, or the source was overwritten. */
const EXPECTED = new Set(['NoSuchKey', 'PreconditionFailed', 'ConditionalRequestConflict'])

async function turn(client: number, number: number): Promise<void> {
  const random = bytes(8, client * 10_007 + number)
  const Key = `key${random[0]! % KEYS}`
  const Source = `key${random[1]! % KEYS}`
  const Body = bytes(SIZES[random[2]! % SIZES.length]!, client * 1000 + number)
  const place = { Bucket: BUCKET, Key }
  switch (random[3]! % 8) {
    case 0: return void (await s3.send(new DeleteObjectCommand(place)))
    case 1: return void (await s3.send(new CopyObjectCommand({ ...place, CopySource: `${BUCKET}/${Source}`, MetadataDirective: 'REPLACE' })))
    case 2: return void (await s3.send(new CopyObjectCommand({ Bucket: OTHER, Key, CopySource: `${BUCKET}/${Source}` })))
    case 3: return void (await s3.send(new DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects: [{ Key }, { Key: Source === Key ? 'none' : Source }] } })))
    case 4: return multipart(place, Body, random[4]! % 3)
    case 5: {
      // every byte that is read must be of one whole version
      const got = await s3.send(new GetObjectCommand(place))
      const body = await read(got)
      if (!got.ETag!.includes('-')) assert.equal(`"${md5(body)}"`, got.ETag, `${Key}: torn read`)
      return
    }
    default: return void (await s3.send(new PutObjectCommand({ ...place, Body })))
  }
}

/** Parts replaced, and then completed, aborted, or completed without one of them. */
async function multipart(place: { Bucket: string; Key: string }, Body: Buffer, how: number): Promise<void> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(place))
  const part = async (PartNumber: number) => ({ PartNumber, ETag: (await s3.send(new UploadPartCommand({ ...place, UploadId, PartNumber, Body }))).ETag })
  await Promise.all([part(1), part(1), part(2)])
  const last = await part(1)
  if (how === 0) await s3.send(new AbortMultipartUploadCommand({ ...place, UploadId }))
  else await s3.send(new CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload: { Parts: [last] } }))
}

it('nothing is lost and nothing is left over', async () => {
  await Promise.all(Array.from({ length: CLIENTS }, async (_, client) => {
    for (let number = 0; number < TURNS; number++) {
      await turn(client, number).catch((error: Error) => {
        if (!EXPECTED.has(error.name)) throw error
      })
    }
  }))
  // uploads that were cut off leave orphans
  for (let i = 0; i < 5; i++) {
    const { socket } = await beginUpload(node, { bucket: BUCKET, key: 'cut', length: 12 * MIB })
    await send(socket, bytes(7 * MIB, i))
    socket.destroy()
  }
  for (const Bucket of [BUCKET, OTHER]) {
    for (let i = 0; i < KEYS; i++) {
      await s3.send(new GetObjectCommand({ Bucket, Key: `key${i}` })).then(read, (error: Error) => assert.equal(error.name, 'NoSuchKey'))
    }
  }
  const { shards } = await accountForEveryShard(node)
  assert.ok(shards > 0)
})

it('and when every key is deleted, the drives are empty', async () => {
  await node.start()
  for (const Bucket of [BUCKET, OTHER]) {
    await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: Array.from({ length: KEYS }, (_, i) => ({ Key: `key${i}` })) } }))
  }
  assert.deepEqual(await accountForEveryShard(node), { shards: 0 })
})

it('groups that hold nothing any more go, and the next object goes into new ones', async () => {
  await node.start()
  const [last] = await node.sql<{ id: number }>('SELECT max(id)::int AS id FROM placement_groups')
  // as if they had been opened for views that lasted for a moment
  await node.sql('UPDATE placement_groups SET state = 1, sealed_ms = 0, bytes = 0')
  await until('no empty one of them is left', async () => {
    const [left] = await node.sql<{ n: number }>(`SELECT count(*)::int AS n FROM placement_groups AS g WHERE id <= ${last!.id} AND NOT EXISTS (SELECT FROM blobs WHERE pg_id = g.id)`)
    return left!.n === 0
  }, { timeoutMs: 90_000, detail: () => node.logTail() })
  const [deleted] = await node.sql<{ n: number }>('SELECT sum(last_id - first_id + 1)::int AS n FROM deleted_groups')
  assert.ok(deleted!.n > 0)
  const Body = bytes(130_000, 1)
  await s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: 'new', Body }))
  assert.deepEqual(await read(await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: 'new' }))), Body)
  const [now] = await node.sql<{ id: number }>('SELECT max(id)::int AS id FROM placement_groups')
  assert.ok(now!.id > last!.id, 'ids never come again')
})
