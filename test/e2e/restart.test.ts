/** Violent ends, and what must be there afterwards: every write that was acknowledged. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { CreateBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { NodeProcess } from '../support/node-process.ts'
import { until } from '../support/until.ts'
import { accountForEveryShard } from './accounting.ts'
import { Journal } from './journal.ts'
import { beginUpload, send } from './raw-upload.ts'

const MIB = 1024 * 1024
const BUCKET = 'restarts'

describe('kill -9 under load', () => {
  let node: NodeProcess
  let journal: Journal
  before(async () => {
    node = await NodeProcess.started({ drives: 3, env: { ANVIL_ORPHAN_AGE_SECS: '1' } })
    await node.s3().send(new CreateBucketCommand({ Bucket: BUCKET }))
    journal = new Journal(node, { bucket: BUCKET, writers: 12, keysPerWriter: 40, sizes: [100, 3000, 9000, 70_000, 150_000, 2 * MIB], deleteEvery: 11 })
  })
  after(async () => {
    await journal?.stop()
    await node?.dispose()
  })

  const victims: [string, () => Promise<void>][] = [
    ['the node', () => node.kill()],
    ['the node and Postgres', async () => {
      node.killPostgres()
      await node.kill()
    }],
    ['Postgres and then the node', async () => {
      node.killPostgres()
      await until('the node has noticed', () => node.postmasterPid() === null || journal.unanswered > 0)
      await node.kill()
    }],
  ]
  for (const [name, kill] of victims) {
    it(`of ${name}: every acknowledged object is there after the next start`, async () => {
      await underLoad(journal, 250)
      await kill()
      await journal.stop()
      await node.start()
      await journal.verify()
    })
  }

  it('of Postgres alone: the node goes on by itself', async () => {
    await underLoad(journal, 250)
    node.killPostgres()
    const earlier = journal.acknowledged
    await until('writes are acknowledged again', () => journal.acknowledged > earlier + 250, { timeoutMs: 60_000, detail: () => node.logTail() })
    await journal.stop()
    await journal.verify()
    assert.ok(node.running)
    assert.notEqual(node.postmasterPid(), null)
  })

  it('leaves nothing on the drives that no object names', async () => {
    const half = await Promise.all(Array.from({ length: 5 }, async (_, i) => {
      const upload = await beginUpload(node, { bucket: BUCKET, key: `half${i}`, length: 20 * MIB })
      await send(upload.socket, bytes(9 * MIB, i))
      return upload
    }))
    await node.s3().send(new PutObjectCommand({ Bucket: BUCKET, Key: 'whole', Body: bytes(3 * MIB) }))
    await node.kill()
    for (const { socket } of half) socket.destroy()
    await node.start()
    await journal.verify()
    const { shards } = await accountForEveryShard(node)
    assert.ok(shards > 0)
  })
})

/** Starts the writers and waits until so many of their writes were acknowledged, none of them refused. */
async function underLoad(journal: Journal, writes: number): Promise<void> {
  const earlier = journal.acknowledged
  const { unanswered } = journal
  journal.start()
  await until('the load runs', () => journal.acknowledged >= earlier + writes, { timeoutMs: 60_000 })
  assert.equal(journal.unanswered, unanswered, 'a healthy node refused or dropped a request')
}
