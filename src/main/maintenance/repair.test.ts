import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import type { Damage } from '../../shared/native.ts'
import type { BlobRow } from '../metadata/contract.ts'
import { DamageReports } from './repair.ts'

const damage = (more: Partial<Damage> = {}): Damage => ({ bucketId: 1, blobId: 'b', pgId: 2, index: 0, driveId: 'd', reason: 'crc', ...more })

function reports() {
  const reported: string[] = []
  const state = { away: false, references: 1 }
  const of = new DamageReports({
    reportDamage(entries) {
      if (state.away) return Promise.reject(new Error('the database is away'))
      reported.push(...entries.map(({ blobId, index, reason }) => `${blobId}/${index}/${reason}`))
      return Promise.resolve()
    },
    blobs: (_, ids) => Promise.resolve(ids.map(() => ({ pgId: 2, references: state.references }) as BlobRow)),
  }, pino({ level: 'silent' }))
  return { of, reported, state }
}

test('one and the same damage is reported once in a while', async () => {
  const { of, reported } = reports()
  for (const one of [damage(), damage(), damage({ index: 1 })]) of.add(one)
  await of.flush()
  assert.deepEqual(reported, ['b/0/crc', 'b/1/crc'])
  await of.stop()
})

test('what could not be queued is kept for the next time', async () => {
  const { of, reported, state } = reports()
  state.away = true
  of.add(damage())
  await of.flush()
  state.away = false
  of.add(damage({ index: 1 }))
  await of.stop()
  assert.deepEqual(reported, ['b/0/crc', 'b/1/crc'])
})

test('a shard that is missing of a blob without references is no damage', async () => {
  const { of, reported, state } = reports()
  state.references = 0
  of.add(damage({ reason: 'missing' }))
  await of.flush()
  assert.deepEqual([reported, of.counters], [[], { crc: 0, missing: 0, io: 0 }])
  await of.stop()
})
