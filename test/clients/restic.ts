/** restic: a backup program whose repository lies in the bucket. */
import path from 'node:path'
import { assertSameTree, type Context, randomFile, type Scenario, sampleTree } from './context.ts'

export const restic: Scenario[] = [{ name: 'init, backup, check --read-data, restore', run: backup }]

async function backup(context: Context): Promise<void> {
  const { folder, bucket, target } = context
  const repository = { RESTIC_REPOSITORY: `s3:${target.endpoint}/${bucket}/repository`, RESTIC_PASSWORD: 'of this test only', RESTIC_CACHE_DIR: path.join(folder, 'cache') }
  const run = (...args: string[]): Promise<string> => context.run(context.program('restic'), args, repository)
  await sampleTree(`${folder}/in`)
  await run('init')
  await run('backup', `${folder}/in`)
  await randomFile(`${folder}/in/second.bin`, 100_000)
  await run('backup', `${folder}/in`)
  await run('check', '--read-data')
  await run('restore', 'latest', '--target', `${folder}/out`)
  await assertSameTree(path.join(folder, 'out', folder, 'in'), `${folder}/in`)
  await run('forget', '--keep-last', '1', '--prune')
  await run('check', '--read-data')
}
