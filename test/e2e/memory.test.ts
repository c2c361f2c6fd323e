/** One large multipart upload by an eager client: memory stays bounded, and the bytes are right. E2E_BIG=1: 8 GiB. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, it } from 'node:test'
import {
  CompleteMultipartUploadCommand, CreateBucketCommand, CreateMultipartUploadCommand, GetObjectCommand, UploadPartCommand, type CompletedPart, type S3Client,
} from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { memoryOf, NodeProcess } from '../support/node-process.ts'

const MIB = 1024 * 1024
const PART = 64 * MIB
const PARTS = process.env['E2E_BIG'] === '1' ? 128 : 16
const PARALLEL = 4
const MEMORY_LIMIT = 256 * MIB
const BESIDE_BUFFERS = 320 * MIB

let node: NodeProcess
let s3: S3Client

before(async () => {
  node = await NodeProcess.started({ env: { ANVIL_MEMORY_LIMIT: String(MEMORY_LIMIT) } })
  s3 = node.s3({ requestChecksumCalculation: 'WHEN_REQUIRED' })
  await s3.send(new CreateBucketCommand({ Bucket: 'large' }))
})
after(() => node?.dispose())

/** Two bodies, told apart by the part's number in front: a swapped part would show. */
const filling = bytes(PART)
function partBody(number: number): Buffer {
  const body = Buffer.from(filling)
  body.writeUInt32BE(number, 0)
  return body
}

it(`${(PARTS * PART) / 1024 / MIB} GiB in parts of 64 MiB`, { timeout: 900_000 }, async () => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'large', Key: 'k' }))
  const sent: CompletedPart[] = []
  const waiting = Array.from({ length: PARTS }, (_, i) => i + 1)
  await Promise.all(Array.from({ length: PARALLEL }, async () => {
    for (let PartNumber = waiting.shift(); PartNumber !== undefined; PartNumber = waiting.shift()) {
      const { ETag } = await s3.send(new UploadPartCommand({ Bucket: 'large', Key: 'k', UploadId, PartNumber, Body: partBody(PartNumber) }))
      sent.push({ PartNumber, ETag })
    }
  }))
  sent.sort((a, b) => a.PartNumber! - b.PartNumber!)
  await s3.send(new CompleteMultipartUploadCommand({ Bucket: 'large', Key: 'k', UploadId, MultipartUpload: { Parts: sent } }))
  const wanted = createHash('sha256')
  for (let number = 1; number <= PARTS; number++) wanted.update(partBody(number))
  const found = createHash('sha256')
  let length = 0
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'large', Key: 'k' }))
  for await (const chunk of Body as AsyncIterable<Uint8Array>) {
    found.update(chunk)
    length += chunk.length
  }
  assert.equal(length, PARTS * PART)
  assert.equal(found.digest('hex'), wanted.digest('hex'))
  const peak = memoryOf(node.pid, 'VmHWM')
  assert.ok(peak < MEMORY_LIMIT + BESIDE_BUFFERS, `peak ${Math.round(peak / MIB)} MiB`)
})
