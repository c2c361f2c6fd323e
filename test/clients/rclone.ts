/** rclone with its S3 backend. */
import fs from 'node:fs/promises'
import { assertEqual, assertSameTree, type Context, type Scenario, sampleTree } from './context.ts'

export const rclone: Scenario[] = [
  { name: 'sync, check --download', run: sync },
  { name: 'size', run: size },
  { name: 'move', run: move },
  { name: 'purge', run: purge },
]

async function sync(context: Context): Promise<void> {
  const { folder, bucket } = context
  await sampleTree(`${folder}/in`)
  await run(context, 'mkdir', `anvil:${bucket}`)
  await run(context, 'sync', `${folder}/in`, `anvil:${bucket}/tree`)
  await run(context, 'check', '--download', `${folder}/in`, `anvil:${bucket}/tree`)
  await fs.rm(`${folder}/in/a`, { recursive: true })
  await run(context, 'sync', `${folder}/in`, `anvil:${bucket}/tree`)
  await run(context, 'check', '--download', `${folder}/in`, `anvil:${bucket}/tree`)
  await run(context, 'sync', `anvil:${bucket}/tree`, `${folder}/out`)
  await assertSameTree(`${folder}/out`, `${folder}/in`)
}

async function size(context: Context): Promise<void> {
  const { folder, bucket } = context
  await sampleTree(`${folder}/in`)
  await run(context, 'copy', `${folder}/in`, `anvil:${bucket}`)
  const [here, there] = await Promise.all([`${folder}/in`, `anvil:${bucket}`].map(async (place) => totals(await run(context, 'size', '--json', place))))
  assertEqual(there, here, 'rclone size')
}

async function move(context: Context): Promise<void> {
  const { folder, bucket } = context
  await sampleTree(`${folder}/in`)
  await run(context, 'copy', `${folder}/in`, `anvil:${bucket}/from`)
  await run(context, 'move', `anvil:${bucket}/from`, `anvil:${bucket}/to`)
  assertEqual(totals(await run(context, 'size', '--json', `anvil:${bucket}/from`)), [0, 0], 'left at the source')
  await run(context, 'check', '--download', `${folder}/in`, `anvil:${bucket}/to`)
}

async function purge(context: Context): Promise<void> {
  const { folder, bucket } = context
  await sampleTree(`${folder}/in`)
  await run(context, 'copy', `${folder}/in`, `anvil:${bucket}`)
  await run(context, 'purge', `anvil:${bucket}`)
  const buckets = await run(context, 'lsf', 'anvil:')
  assertEqual(buckets.split('\n').includes(`${bucket}/`), false, 'the bucket is still there')
}

function totals(sizeJson: string): [number, number] {
  const { count, bytes } = JSON.parse(sizeJson) as { count: number; bytes: number }
  return [count, bytes]
}

function run(context: Context, ...args: string[]): Promise<string> {
  const { target } = context
  return context.run(context.program('rclone'), [...args, '--config', '/dev/null', '--retries', '1', '--low-level-retries', '1', '--stats', '0'], {
    RCLONE_CONFIG_ANVIL_TYPE: 's3',
    RCLONE_CONFIG_ANVIL_PROVIDER: 'Other',
    RCLONE_CONFIG_ANVIL_ENDPOINT: target.endpoint,
    RCLONE_CONFIG_ANVIL_ACCESS_KEY_ID: target.accessKey,
    RCLONE_CONFIG_ANVIL_SECRET_ACCESS_KEY: target.secretKey,
    RCLONE_CONFIG_ANVIL_REGION: target.region,
    RCLONE_CONFIG_ANVIL_CHUNK_SIZE: '5Mi',
    RCLONE_CONFIG_ANVIL_UPLOAD_CUTOFF: '10Mi',
  })
}
