import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { randomId, type DriveId } from '../../shared/ids.ts'
import { KnownDrives } from './known-drives.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'anvil-known-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('what is remembered is there for the next process', () => {
  const [a, b] = [randomId<DriveId>(), randomId<DriveId>()]
  const known = KnownDrives.load(dir)
  known.remember('/d1', a)
  known.remember('/d2', b)
  assert.deepEqual(KnownDrives.load(dir).all, [{ path: '/d1', driveId: a }, { path: '/d2', driveId: b }])
  known.forget('/d1')
  assert.equal(KnownDrives.load(dir).at('/d1'), undefined)
})

test('a drive that moved to another path is remembered there only', () => {
  const id = randomId<DriveId>()
  const known = KnownDrives.load(dir)
  known.remember('/d1', id)
  known.remember('/d2', id)
  assert.deepEqual(KnownDrives.load(dir).all, [{ path: '/d2', driveId: id }])
})

test('a file that is not understood stops the start', () => {
  for (const text of ['', '{', '{"formatVersion":2,"drives":[]}', '{"formatVersion":1,"drives":[{"path":"/d1","driveId":"x"}]}']) {
    writeFileSync(join(dir, 'drives.json'), text)
    assert.throws(() => KnownDrives.load(dir))
  }
})
