/** DESIGN §13, rule 3, with a real drive and real databases: drives remember the database, removal stops at another one. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { randomId, type DeploymentId, type DriveId } from '../../../src/shared/ids.ts'
import { MIB } from '../../../src/shared/limits.ts'
import { loadNative } from '../../../src/shared/load-native.ts'
import { RemovalGuard } from '../../../src/main/maintenance/removal-guard.ts'
import { startMetadata, type TestMetadata } from '../../support/metadata.ts'

const native = loadNative()
const deploymentId = randomId<DeploymentId>()
let folder: string
let drives: DriveId[]
let database: TestMetadata

async function addDrive(name: string): Promise<void> {
  const driveId = randomId<DriveId>()
  const path = join(folder, name)
  await native.createDrive(path, deploymentId, driveId)
  await native.openDrive({ path, deploymentId, driveId, reserveBytes: 0 })
  drives.push(driveId)
}

before(async () => {
  native.init({ memoryLimitBytes: 64 * MIB, logFilter: 'warn', runtimeThreads: 2 })
  folder = mkdtempSync(join(tmpdir(), 'anvil-guard-'))
  drives = []
  await addDrive('d1')
  database = await startMetadata()
})

after(async () => {
  for (const driveId of drives) await native.closeDrive(driveId)
  rmSync(folder, { recursive: true })
  await database.stop()
})

const guardOf = (): RemovalGuard => new RemovalGuard({ native, metadata: database.metadata, drives: () => drives })

test('a new drive takes the database as it is; a promoted one stops removal until an operator confirms', async () => {
  const guard = guardOf()
  const first = await guard.database()
  assert.ok(first !== null, guard.reason)
  assert.equal(guard.reason, '')

  const metadata = { identity: async () => ({ ...(await database.metadata.identity()), readWrite: false }) }
  const readOnly = new RemovalGuard({ native, metadata, drives: () => drives })
  assert.equal(await readOnly.database(), null)
  assert.match(readOnly.reason, /read-only/)

  const diskless = new RemovalGuard({ native, metadata: database.metadata, drives: () => [] })
  assert.equal(await diskless.database(), null, 'without a drive nothing is known of the database before')
  assert.match(diskless.reason, /no drive/)

  await database.postgres.promote()
  assert.equal(await guard.database(), null)
  assert.match(guard.reason, /restored or promoted/)
  assert.equal(await guardOf().database(), null, 'the drive remembers it, not the process')

  // a drive that never saw a database does not open the way for one that did
  await addDrive('d2')
  assert.equal(await guard.database(), null)

  await guard.confirm()
  const second = await guard.database()
  assert.ok(second !== null, guard.reason)
  assert.equal(second.systemId, first.systemId)
  assert.ok(second.timeline > first.timeline)
})
