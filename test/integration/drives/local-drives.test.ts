/** The drives of a host with real folders: what keeps one from coming online must not keep it away for ever, nor end the node. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, afterEach, test } from 'node:test'
import pino from 'pino'
import { LocalDrives } from '../../../src/main/drives/local-drives.ts'
import type { DriveRecord } from '../../../src/main/metadata/contract.ts'
import { randomId, type DeploymentId, type NodeId } from '../../../src/shared/ids.ts'
import { MIB } from '../../../src/shared/limits.ts'
import { loadNative } from '../../../src/shared/load-native.ts'
import { until } from '../../support/until.ts'

const native = loadNative()
let folder: string
let registered: Map<string, DriveRecord>
/** Whether the database is away. */
let away: boolean
let drives: LocalDrives

before(() => native.init({ memoryLimitBytes: 64 * MIB, logFilter: 'error', runtimeThreads: 2 }))
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'anvil-drives-'))
  registered = new Map()
  away = false
  drives = new LocalDrives({
    native, stateDir: folder, paths: [join(folder, 'd1'), join(folder, 'd2')], deploymentId: randomId<DeploymentId>(), nodeId: 'node' as NodeId,
    logger: pino({ level: 'silent' }),
    metadata: {
      registerDrive: (drive) => {
        if (away) return Promise.reject(new Error('the database is away'))
        registered.set(drive.driveId, { ...drive, state: 'active' })
        return Promise.resolve()
      },
      drives: () => Promise.resolve([...registered.values()]),
    },
  })
})
afterEach(async () => {
  await drives.stop()
  rmSync(folder, { recursive: true })
})
after(() => assert.deepEqual(native.driveStats(), [], 'no drive stays open'))

const states = (): string[] => drives.all.map((drive) => drive.state)

test('a disk that comes back while the database is away is online once the database is there', async () => {
  await drives.start()
  assert.deepEqual(states(), ['online', 'online'])
  assert.ok(drives.everTwoDrives)

  renameSync(join(folder, 'd2'), join(folder, 'unmounted'))
  await until('the vanished drive is offline', () => states()[1] === 'offline')
  assert.equal(drives.readable.length, 1)

  away = true
  mkdirSync(join(folder, 'd2')) // the empty mount point
  renameSync(join(folder, 'unmounted'), join(folder, 'd2'))
  await until('it was tried', () => drives.all[1]!.reason === 'the database is away')
  away = false
  await until('it is online', () => states()[1] === 'online')
})

test('a file of drives that cannot be read for a while ends neither the watch nor the process', async () => {
  await drives.start()
  const file = join(folder, 'drives.json')
  const kept = readFileSync(file)
  writeFileSync(file, 'not JSON')
  renameSync(join(folder, 'd1'), join(folder, 'unmounted'))
  await until('the vanished drive is offline', () => states()[0] === 'offline')
  writeFileSync(file, kept)
  renameSync(join(folder, 'unmounted'), join(folder, 'd1'))
  await until('it is online again', () => states()[0] === 'online')
})
