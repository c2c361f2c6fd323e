/** What every group of object tests works with: one node, one client, buckets of its own. */
import assert from 'node:assert/strict'
import { CreateBucketCommand, type S3Client } from '@aws-sdk/client-s3'
import type { NodeProcess } from '../../support/node-process.ts'

export interface Context {
  node: NodeProcess
  s3: S3Client
}

let made = 0

/** A new bucket with a name that no other test has. */
export async function newBucket({ s3 }: Context): Promise<string> {
  const name = `test-${process.pid}-${++made}`
  await s3.send(new CreateBucketCommand({ Bucket: name }))
  return name
}

interface SdkError extends Error {
  $metadata?: { httpStatusCode?: number }
}

/** The call must fail with this S3 code (any when null, for answers without a body) and status. */
export async function fails(call: Promise<unknown>, code: string | null, status: number): Promise<void> {
  const error = await call.then(
    () => assert.fail(`expected ${code ?? 'a failure'} (${status}), but it succeeded`),
    (thrown: SdkError) => thrown,
  )
  assert.equal(error.$metadata?.httpStatusCode, status, `${error.name}: ${error.message}`)
  if (code !== null) assert.equal(error.name, code, error.message)
}

/** Bytes of a GET's answer. */
export async function read(answer: { Body?: unknown }): Promise<Buffer> {
  const body = answer.Body as { transformToByteArray(): Promise<Uint8Array> } | undefined
  assert.ok(body !== undefined, 'an answer without a body')
  return Buffer.from(await body.transformToByteArray())
}

export function sameBytes(found: Uint8Array, wanted: Uint8Array, what = 'body'): void {
  assert.equal(found.length, wanted.length, `${what}: length`)
  assert.ok(Buffer.compare(found, wanted) === 0, `${what}: other bytes`)
}
