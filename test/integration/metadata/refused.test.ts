/** A server that answers and refuses this node, after the node has started. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AnvilError } from '../../../src/shared/errors.ts'
import { startMetadata, type TestMetadata } from '../../support/metadata.ts'
import { migrate } from '../../support/postgres.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

test('a refusal shows in the health, is told at once, and is over when the server takes the node again', async () => {
  const config = await t.postgres.database('taken_away')
  await migrate(config, 'regional')
  const metadata = await t.another({ connection: config, readers: 1 })
  assert.deepEqual(metadata.health(), { state: 'ok', reason: '' })
  const away = async (name: string): Promise<void> => {
    await t.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'taken_away%'`)
    await t.sql(`ALTER DATABASE ${name === 'away' ? 'taken_away RENAME TO taken_away_2' : 'taken_away_2 RENAME TO taken_away'}`)
  }
  await away('away')
  await assert.rejects(metadata.nodes(), (error: unknown) => AnvilError.is(error, 'Internal') && /there is no such database/.test(error.message))
  assert.match(metadata.health().reason, /there is no such database/)
  await away('back')
  assert.deepEqual(await metadata.nodes(), [])
  assert.deepEqual(metadata.health(), { state: 'ok', reason: '' })
})
