/** The AWS command line: `aws s3` and `aws s3api`. */
import fs from 'node:fs/promises'
import { assertEqual, assertSameFile, assertSameTree, type Context, MIB, randomFile, type Scenario, sampleTree } from './context.ts'

const PART_BYTES = 8 * MIB

export const awsCli: Scenario[] = [
  { name: 'cp small', run: copySmall },
  { name: 'cp 100 MiB multipart', run: copyLarge },
  { name: 'sync', run: sync },
  { name: 'mv', run: move },
  { name: 'rm --recursive', run: removeRecursively },
  { name: 'presign and plain GET', run: presign },
  { name: 's3api get-object with range', run: range },
  { name: 's3api list-objects-v2 with delimiter', run: list },
  { name: 's3api head-object, copy-object', run: copyObject },
  { name: 's3api multipart upload by hand', run: multipart },
  { name: 's3api delete-objects', run: deleteObjects },
  { name: 's3api get-object-attributes', run: attributes },
]

async function copySmall(context: Context): Promise<void> {
  await roundTrip(context, 12_345)
  await roundTrip(context, 0)
}

async function copyLarge(context: Context): Promise<void> {
  await roundTrip(context, 100 * MIB)
}

async function roundTrip(context: Context, bytes: number): Promise<void> {
  const { folder, bucket } = context
  const bucketHere = `${bucket}-${bytes}`
  await aws(context, 's3', 'mb', `s3://${bucketHere}`)
  await randomFile(`${folder}/in`, bytes)
  await aws(context, 's3', 'cp', '--no-progress', `${folder}/in`, `s3://${bucketHere}/a/file`)
  await aws(context, 's3', 'cp', '--no-progress', `s3://${bucketHere}/a/file`, `${folder}/out`)
  await assertSameFile(`${folder}/out`, `${folder}/in`)
}

async function sync(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  await sampleTree(`${folder}/in`)
  await aws(context, 's3', 'sync', '--no-progress', `${folder}/in`, `s3://${bucket}/tree`)
  assertEqual(await aws(context, 's3', 'sync', '--no-progress', `${folder}/in`, `s3://${bucket}/tree`), '', 'a second sync has work')
  await fs.rm(`${folder}/in/stripe.bin`)
  await aws(context, 's3', 'sync', '--no-progress', '--delete', `${folder}/in`, `s3://${bucket}/tree`)
  await aws(context, 's3', 'sync', '--no-progress', `s3://${bucket}/tree`, `${folder}/out`)
  await assertSameTree(`${folder}/out`, `${folder}/in`)
}

async function move(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  await randomFile(`${folder}/in`, 10 * MIB)
  await aws(context, 's3', 'cp', '--no-progress', `${folder}/in`, `s3://${bucket}/from`)
  await aws(context, 's3', 'mv', '--no-progress', `s3://${bucket}/from`, `s3://${bucket}/to`)
  await aws(context, 's3', 'mv', '--no-progress', `s3://${bucket}/to`, `${folder}/out`)
  await assertSameFile(`${folder}/out`, `${folder}/in`)
  assertEqual((await aws(context, 's3', 'ls', `s3://${bucket}`)).trim(), '', 'left after mv')
}

async function removeRecursively(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  await sampleTree(`${folder}/in`)
  await aws(context, 's3', 'cp', '--no-progress', '--recursive', `${folder}/in`, `s3://${bucket}/`)
  await aws(context, 's3', 'rm', '--recursive', `s3://${bucket}/`)
  await aws(context, 's3', 'rb', `s3://${bucket}`)
}

async function presign(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  await randomFile(`${folder}/in`, MIB)
  await aws(context, 's3', 'cp', '--no-progress', `${folder}/in`, `s3://${bucket}/with space`)
  // Version 1 of the command still presigns with SigV2 for us-east-1, which S3 itself refuses for newer buckets.
  const config = { AWS_CONFIG_FILE: `${folder}/config` }
  await fs.writeFile(config.AWS_CONFIG_FILE, '[default]\ns3 =\n  signature_version = s3v4\n')
  const url = (await context.run(context.program('aws'), ['s3', 'presign', `s3://${bucket}/with space`, '--expires-in', '60'], config)).trim()
  const response = await fetch(url)
  assertEqual(response.status, 200, 'status of the presigned GET')
  await fs.writeFile(`${folder}/out`, new Uint8Array(await response.arrayBuffer()))
  await assertSameFile(`${folder}/out`, `${folder}/in`)
  const forged = await fetch(url.replace(/Signature=(.)/, (_, digit: string) => `Signature=${digit === '0' ? '1' : '0'}`))
  assertEqual(forged.status, 403, 'status of a forged signature')
}

async function range(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  await randomFile(`${folder}/in`, 3 * MIB)
  await aws(context, 's3', 'cp', '--no-progress', `${folder}/in`, `s3://${bucket}/key`)
  const whole = await fs.readFile(`${folder}/in`)
  for (const [spec, from, to] of [['bytes=0-0', 0, 1], ['bytes=1000000-2000000', 1_000_000, 2_000_001], ['bytes=-5', whole.length - 5, whole.length], ['bytes=3145000-', 3_145_000, whole.length]] as const) {
    await aws(context, 's3api', 'get-object', '--bucket', bucket, '--key', 'key', '--range', spec, `${folder}/part`)
    assertEqual((await fs.readFile(`${folder}/part`)).equals(whole.subarray(from, to)), true, spec)
  }
}

async function list(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  for (const name of ['a/1', 'a/2', 'b/c/3', 'top', 'zoo']) await randomFile(`${folder}/in/${name}`, 10)
  await aws(context, 's3', 'cp', '--no-progress', '--recursive', `${folder}/in`, `s3://${bucket}/`)
  const page = await json<{ Contents: { Key: string }[]; CommonPrefixes: { Prefix: string }[] }>(context, 'list-objects-v2', '--bucket', bucket, '--delimiter', '/')
  assertEqual(page.Contents.map(({ Key }) => Key), ['top', 'zoo'], 'keys')
  assertEqual(page.CommonPrefixes.map(({ Prefix }) => Prefix), ['a/', 'b/'], 'prefixes')
  const small = await json<{ Contents: { Key: string }[] }>(context, 'list-objects-v2', '--bucket', bucket, '--page-size', '2')
  assertEqual(small.Contents.map(({ Key }) => Key), ['a/1', 'a/2', 'b/c/3', 'top', 'zoo'], 'keys over pages')
}

async function copyObject(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  await randomFile(`${folder}/in`, 2 * MIB)
  await json(context, 'put-object', '--bucket', bucket, '--key', 'a', '--body', `${folder}/in`, '--metadata', 'colour=blue', '--content-type', 'image/png')
  await json(context, 'copy-object', '--bucket', bucket, '--key', 'b', '--copy-source', `${bucket}/a`)
  await json(context, 'copy-object', '--bucket', bucket, '--key', 'c', '--copy-source', `${bucket}/a`, '--metadata-directive', 'REPLACE', '--metadata', 'colour=red')
  const [b, c] = await Promise.all(
    ['b', 'c'].map((key) => json<{ ContentLength: number; ContentType: string; Metadata: Record<string, string> }>(context, 'head-object', '--bucket', bucket, '--key', key)),
  )
  assertEqual([b?.ContentLength, b?.ContentType, b?.Metadata], [2 * MIB, 'image/png', { colour: 'blue' }], 'copied head')
  assertEqual(c?.Metadata, { colour: 'red' }, 'replaced metadata')
  await aws(context, 's3api', 'get-object', '--bucket', bucket, '--key', 'c', `${folder}/out`)
  await assertSameFile(`${folder}/out`, `${folder}/in`)
}

async function multipart(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  const target = ['--bucket', bucket, '--key', 'whole']
  const { UploadId } = await json<{ UploadId: string }>(context, 'create-multipart-upload', ...target)
  const parts: { ETag: string; PartNumber: number }[] = []
  for (const [i, bytes] of [PART_BYTES, PART_BYTES, 1234].entries()) {
    await randomFile(`${folder}/part${i + 1}`, bytes)
    const { ETag } = await json<{ ETag: string }>(context, 'upload-part', ...target, '--upload-id', UploadId, '--part-number', String(i + 1), '--body', `${folder}/part${i + 1}`)
    parts.push({ ETag, PartNumber: i + 1 })
  }
  const listed = await json<{ Parts: { Size: number }[] }>(context, 'list-parts', ...target, '--upload-id', UploadId)
  assertEqual(listed.Parts.map(({ Size }) => Size), [PART_BYTES, PART_BYTES, 1234], 'list-parts')
  const { ETag } = await json<{ ETag: string }>(context, 'complete-multipart-upload', ...target, '--upload-id', UploadId, '--multipart-upload', JSON.stringify({ Parts: parts }))
  if (!ETag.endsWith('-3"')) throw new Error(`ETag ${ETag} does not end in -3`)
  await fs.writeFile(`${folder}/in`, Buffer.concat(await Promise.all([1, 2, 3].map((n) => fs.readFile(`${folder}/part${n}`)))))
  await aws(context, 's3api', 'get-object', ...target, `${folder}/out`)
  await assertSameFile(`${folder}/out`, `${folder}/in`)
  const aborted = await json<{ UploadId: string }>(context, 'create-multipart-upload', ...target)
  await aws(context, 's3api', 'abort-multipart-upload', ...target, '--upload-id', aborted.UploadId)
}

async function deleteObjects(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  for (const name of ['1', '2', '3']) await randomFile(`${folder}/in/${name}`, 10)
  await aws(context, 's3', 'cp', '--no-progress', '--recursive', `${folder}/in`, `s3://${bucket}/`)
  const gone = await json<{ Deleted: { Key: string }[] }>(context, 'delete-objects', '--bucket', bucket, '--delete', JSON.stringify({ Objects: [{ Key: '1' }, { Key: '3' }, { Key: 'never there' }] }))
  assertEqual(gone.Deleted.map(({ Key }) => Key).sort(), ['1', '3', 'never there'], 'deleted')
  const left = await json<{ Contents: { Key: string }[] }>(context, 'list-objects-v2', '--bucket', bucket)
  assertEqual(left.Contents.map(({ Key }) => Key), ['2'], 'left')
}

async function attributes(context: Context): Promise<void> {
  const { folder, bucket } = await withBucket(context)
  await randomFile(`${folder}/in`, 5000)
  const { ETag } = await json<{ ETag: string }>(context, 'put-object', '--bucket', bucket, '--key', 'a', '--body', `${folder}/in`, '--checksum-algorithm', 'SHA256')
  const found = await json<{ ETag: string; ObjectSize: number; Checksum: { ChecksumSHA256?: string } }>(
    context, 'get-object-attributes', '--bucket', bucket, '--key', 'a', '--object-attributes', 'ETag', 'ObjectSize', 'Checksum',
  )
  assertEqual([found.ETag, found.ObjectSize], [ETag.replaceAll('"', ''), 5000], 'attributes')
  if (found.Checksum.ChecksumSHA256 === undefined) throw new Error('no ChecksumSHA256')
}

async function withBucket(context: Context): Promise<Context> {
  await aws(context, 's3', 'mb', `s3://${context.bucket}`)
  return context
}

function aws(context: Context, ...args: string[]): Promise<string> {
  return context.run(context.program('aws'), args)
}

async function json<T = unknown>(context: Context, ...args: string[]): Promise<T> {
  return JSON.parse((await aws(context, 's3api', ...args, '--output', 'json')) || 'null') as T
}

