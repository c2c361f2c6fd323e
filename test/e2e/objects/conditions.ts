import assert from 'node:assert/strict'
import { it } from 'node:test'
import { CopyObjectCommand, DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { bytes } from '../../support/bytes.ts'
import { signedRequest, type RawAnswer } from '../../support/raw-http.ts'
import { s3Path } from '../../support/sigv4.ts'
import { fails, newBucket, read, sameBytes, type Context } from './context.ts'

const RACERS = 20

export function conditionTests(context: Context): void {
  it('If-None-Match: * and If-Match decide on PUT', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const put = (Body: string, conditions: object) => s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body, ...conditions }))
    await fails(put('0', { IfMatch: '"any"' }), 'NoSuchKey', 404)
    const first = await put('1', { IfNoneMatch: '*' })
    await fails(put('2', { IfNoneMatch: '*' }), 'PreconditionFailed', 412)
    await fails(put('2', { IfMatch: '"other"' }), 'PreconditionFailed', 412)
    const second = await put('2', { IfMatch: first.ETag })
    await fails(put('3', { IfMatch: first.ETag }), 'PreconditionFailed', 412)
    assert.notEqual(second.ETag, first.ETag)
    assert.equal((await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' })))).toString(), '2')
  })

  it('If-Match decides on DELETE', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
    await fails(s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', IfMatch: '"other"' })), 'PreconditionFailed', 412)
    await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', IfMatch: ETag! }))
    await fails(s3.send(new HeadObjectCommand({ Bucket, Key: 'k' })), null, 404)
  })

  it('If-None-Match: * decides on CopyObject', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x' }))
    const copy = () => s3.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/a`, IfNoneMatch: '*' }))
    await copy()
    await fails(copy(), 'PreconditionFailed', 412)
  })

  for (const size of [10, 60_000]) {
    it(`one of ${RACERS} writers of ${size} bytes with If-None-Match: * wins, again and again`, async () => {
      const { node, s3 } = context
      const Bucket = await newBucket(context)
      for (let round = 0; round < 5; round++) {
        const Key = `k${round}`
        const answers = await race(RACERS, (i) => signedRequest(node.port, node.credentials, {
          method: 'PUT', path: s3Path(Bucket, Key), headers: { 'if-none-match': '*' }, body: bytes(size, i),
        }))
        const winner = onlyWinner(answers)
        sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key }))), bytes(size, winner))
      }
    })
  }

  it(`one of ${RACERS} writers with the same If-Match wins`, async () => {
    const { node, s3 } = context
    const Bucket = await newBucket(context)
    let { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'first' }))
    for (let round = 0; round < 5; round++) {
      const body = (i: number): Buffer => Buffer.from(`round ${round}, writer ${i}`)
      const answers = await race(RACERS, (i) => signedRequest(node.port, node.credentials, {
        method: 'PUT', path: s3Path(Bucket, 'k'), headers: { 'if-match': ETag! }, body: body(i),
      }))
      const winner = onlyWinner(answers)
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
      sameBytes(await read(got), body(winner))
      ETag = got.ETag
    }
  })

  it(`of ${RACERS} deletes with If-Match one finds the object`, async () => {
    const { node, s3 } = context
    const Bucket = await newBucket(context)
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
    const answers = await race(RACERS, () => signedRequest(node.port, node.credentials, { method: 'DELETE', path: s3Path(Bucket, 'k'), headers: { 'if-match': ETag! } }))
    assert.equal(answers.filter((answer) => answer.status === 204).length, 1, answers.map((answer) => answer.status).join(' '))
  })
}

const race = (count: number, one: (i: number) => Promise<RawAnswer>): Promise<RawAnswer[]> => Promise.all(Array.from({ length: count }, (_, i) => one(i)))

/** The index of the one answer with 200; all others must be 412 or 409. */
function onlyWinner(answers: RawAnswer[]): number {
  const winners = answers.flatMap((answer, i) => (answer.status === 200 ? [i] : []))
  const statuses = answers.map((answer) => answer.status).join(' ')
  assert.equal(winners.length, 1, statuses)
  assert.ok(answers.every(({ status }) => status === 200 || status === 412 || status === 409), statuses)
  return winners[0]!
}
