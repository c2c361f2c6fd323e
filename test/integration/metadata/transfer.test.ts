import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { exportMetadata, importMetadata } from '../../../src/main/metadata/transfer.ts'
import { migrate } from '../../support/postgres.ts'
import { blobRecord, contentOf, inlineRecord, startMetadata, type TestMetadata } from '../../support/metadata.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

test('an export fills an empty database, and only a whole one does', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const records = [
    ...Array.from({ length: 300 }, (_, i) => blobRecord(bucket, `k${i}`, pg.id)),
    inlineRecord(bucket, 'tab\tand \\ and \u{1F600}', Buffer.from([0, 255, 10, 9]).toString('latin1'), { userMetadata: { a: 'b\\n' } }),
  ]
  await Promise.all(records.map((record) => t.metadata.put(record, {}, [])))
  await t.metadata.delete(bucket, 'k0', {})
  const chunks: Buffer[] = []
  for await (const chunk of exportMetadata(t.postgres.config)) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  /** Cut anywhere. */
  async function* pieces(length = bytes.length): AsyncGenerator<Buffer, void> {
    for (let at = 0; at < length; at += 777) yield bytes.subarray(at, Math.min(at + 777, length))
  }

  const target = await t.postgres.database('target')
  await migrate(target, 'regional')
  for (const length of [0, 10, bytes.length >> 1, bytes.length - 1]) {
    await assert.rejects(importMetadata(target, pieces(length)), { kind: 'InvalidRequest' }, `${length} bytes`)
  }
  const { rows } = await importMetadata(target, pieces())
  assert.ok(rows > 600)
  await assert.rejects(importMetadata(target, pieces()), { kind: 'InvalidRequest' })

  const moved = await t.another({ connection: target })
  for (const record of records.slice(1)) {
    assert.deepEqual(await moved.get(bucket, record.key), await t.metadata.get(bucket, record.key))
  }
  assert.equal(await moved.get(bucket, 'k0'), null)
  assert.deepEqual((await moved.garbage(10)).map(({ blobId }) => blobId), [contentOf(records[0]!)])
  assert.deepEqual(await moved.counts(), await t.metadata.counts())
  const next = await moved.openPlacementGroup(4, 2, (await t.group()).members)
  assert.ok(next.id > pg.id + 1000, 'ids that were given after the export do not come again')
  await moved.put(blobRecord(bucket, 'new', next.id), {}, [])
})
