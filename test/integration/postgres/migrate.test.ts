/** Migrations against a real server: at once from several processes, ahead of the code, changed, broken. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test, type TestContext } from 'node:test'
import type { ClientConfig } from 'pg'
import { withClient } from '../../../src/main/postgres/connection.ts'
import { migrate, MIGRATIONS, SchemaError, schemaState } from '../../../src/main/postgres/migrate.ts'
import type { EmbeddedPostgres } from '../../../src/main/postgres/supervisor.ts'
import { initializedFolder, type StateFolder } from './rig.ts'

describe('migrations', () => {
  const cleanup: (() => unknown)[] = []
  let state: StateFolder
  let postgres: EmbeddedPostgres
  before(async () => {
    state = await initializedFolder({ after: (work) => cleanup.push(work) })
    postgres = await state.start()
  })
  after(async () => {
    for (let work = cleanup.pop(); work; work = cleanup.pop()) await work()
  })

  let made = 0
  const database = async (): Promise<ClientConfig> => {
    const name = `d${++made}`
    await state.query(`CREATE DATABASE ${name}`)
    return postgres.clientConfig(name)
  }
  const folder = (t: TestContext, files: Record<string, string>): string => {
    const parent = mkdtempSync(join(tmpdir(), 'anvil-migrations-'))
    t.after(() => rmSync(parent, { recursive: true }))
    const path = join(parent, 'set')
    mkdirSync(path)
    for (const [name, sql] of Object.entries(files)) writeFileSync(join(path, name), sql)
    return path
  }
  const rows = (config: ClientConfig, sql: string) => withClient(config, async (client) => (await client.query(sql)).rows)

  test('both sets apply, together in one database too, and a second time do nothing', async () => {
    const config = await database()
    assert.ok((await migrate(config, MIGRATIONS.global)).length > 0)
    assert.ok((await migrate(config, MIGRATIONS.regional)).length > 0)
    assert.deepEqual(await migrate(config, MIGRATIONS.global), [])
    assert.deepEqual(await schemaState(config, MIGRATIONS.regional), { empty: false, pending: [] })
  })

  test('four at once apply each migration once', async (t) => {
    const files = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`000${i + 1}_step.sql`, `SELECT pg_sleep(0.02); CREATE TABLE t${i + 1} ()`]))
    const path = folder(t, files)
    const config = await database()
    const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(config, path)))
    assert.deepEqual(applied.flat().toSorted(), ['0001_step', '0002_step', '0003_step', '0004_step', '0005_step'])
  })

  test('a migration that fails leaves nothing of itself, and what came before stays', async (t) => {
    const path = folder(t, { '0001_good.sql': 'CREATE TABLE good ()', '0002_bad.sql': 'CREATE TABLE bad (); SELECT 1 / 0' })
    const config = await database()
    await assert.rejects(migrate(config, path), (error) => error instanceof SchemaError && /0002_bad failed: division by zero/.test(error.message))
    assert.deepEqual(await rows(config, `SELECT to_regclass('good') IS NOT NULL AS good, to_regclass('bad') IS NOT NULL AS bad`), [{ good: true, bad: false }])
    assert.deepEqual(await schemaState(config, path), { empty: false, pending: ['0002_bad'] })
    writeFileSync(join(path, '0002_bad.sql'), 'CREATE TABLE bad ()')
    assert.deepEqual(await migrate(config, path), ['0002_bad'])
  })

  test('a database that is ahead of the code is refused', async (t) => {
    const config = await database()
    await migrate(config, folder(t, { '0001_a.sql': 'SELECT 1', '0002_b.sql': 'SELECT 2' }))
    const older = folder(t, { '0001_a.sql': 'SELECT 1' })
    await assert.rejects(migrate(config, older), /ahead of this version of anvil \(it has 0002_b\)/)
    await assert.rejects(schemaState(config, older), SchemaError)
  })

  test('a migration that was changed after it was applied is refused', async (t) => {
    const config = await database()
    await migrate(config, folder(t, { '0001_a.sql': 'SELECT 1' }))
    await assert.rejects(migrate(config, folder(t, { '0001_a.sql': 'SELECT 2' })), /migrated with another 0001_a/)
  })

  test('names must count up', async (t) => {
    await assert.rejects(migrate(await database(), folder(t, { '0002_a.sql': 'SELECT 1' })), /must be named 0001_what.sql/)
  })

  test('an empty database is not touched by a look at it', async () => {
    const config = await database()
    assert.deepEqual((await schemaState(config, MIGRATIONS.global)).empty, true)
    assert.deepEqual(await rows(config, `SELECT FROM pg_class WHERE relname = 'anvil_migrations'`), [])
  })
})
