/** s3cmd: signs with SigV4 in its own code, and compares ETags with MD5s. */
import fs from 'node:fs/promises'
import { assertEqual, assertSameFile, assertSameTree, type Context, MIB, randomFile, type Scenario, sampleTree } from './context.ts'

export const s3cmd: Scenario[] = [
  { name: 'mb, put, ls, get, del, rb', run: basics },
  { name: 'multipart put', run: multipart },
  { name: 'sync', run: sync },
]

async function basics(context: Context): Promise<void> {
  const { folder, bucket } = context
  await run(context, 'mb', `s3://${bucket}`)
  await randomFile(`${folder}/in`, 54_321)
  await run(context, 'put', `${folder}/in`, `s3://${bucket}/a b/ü+1`)
  assertEqual((await run(context, 'ls', '--recursive', `s3://${bucket}`)).includes(`s3://${bucket}/a b/ü+1`), true, 'ls shows the key')
  await run(context, 'get', `s3://${bucket}/a b/ü+1`, `${folder}/out`)
  await assertSameFile(`${folder}/out`, `${folder}/in`)
  await run(context, 'del', `s3://${bucket}/a b/ü+1`)
  await run(context, 'rb', `s3://${bucket}`)
}

async function multipart(context: Context): Promise<void> {
  const { folder, bucket } = context
  await run(context, 'mb', `s3://${bucket}`)
  await randomFile(`${folder}/in`, 33 * MIB)
  await run(context, 'put', '--multipart-chunk-size-mb=5', `${folder}/in`, `s3://${bucket}/big`)
  await run(context, 'get', `s3://${bucket}/big`, `${folder}/out`)
  await assertSameFile(`${folder}/out`, `${folder}/in`)
}

async function sync(context: Context): Promise<void> {
  const { folder, bucket } = context
  await run(context, 'mb', `s3://${bucket}`)
  await sampleTree(`${folder}/in`)
  await run(context, 'sync', `${folder}/in/`, `s3://${bucket}/tree/`)
  await fs.rm(`${folder}/in/stripe.bin`)
  await run(context, 'sync', '--delete-removed', `${folder}/in/`, `s3://${bucket}/tree/`)
  await fs.mkdir(`${folder}/out`)
  await run(context, 'sync', `s3://${bucket}/tree/`, `${folder}/out/`)
  await assertSameTree(`${folder}/out`, `${folder}/in`)
}

function run(context: Context, ...args: string[]): Promise<string> {
  const { target } = context
  const { host, protocol } = new URL(target.endpoint)
  return context.run(context.program('s3cmd'), [
    ...args, '--config=/dev/null', `--access_key=${target.accessKey}`, `--secret_key=${target.secretKey}`, `--region=${target.region}`, `--host=${host}`, `--host-bucket=${host}`,
    protocol === 'https:' ? '--ssl' : '--no-ssl', '--no-progress', '--max-retries=1',
  ])
}
