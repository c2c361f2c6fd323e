import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import type { NodeId, PgId } from '../shared/ids.ts'
import { monotonicMs } from '../shared/monotonic.ts'
import { NodeLease } from './node-lease.ts'

const THREADS_TAKE_MS = 60

/** A lease over a database that only counts: `renewed` is told how old, in milliseconds, what it publishes is. */
async function withLease(renewed: (oldestReadAgeMs: number) => void, oldestReadMs: () => Promise<number | null>, work: (lease: NodeLease) => Promise<void> = async () => {}): Promise<void> {
  const stateDir = mkdtempSync(join(tmpdir(), 'anvil-lease-'))
  const lease = new NodeLease({
    metadata: {
      registerNode: () => Promise.resolve(),
      takeOverLease: () => Promise.resolve(),
      releaseLease: () => Promise.resolve(),
      renewLease: (_node, _process, _ms, oldestMs) => {
        assert.ok(oldestMs !== null)
        renewed(Date.now() - oldestMs)
        return Promise.resolve(true)
      },
    },
    processId: 'this', stateDir, logger: pino({ level: 'silent' }), onLost: () => {},
    wanted: () => new Set(),
    report: async () => ({ oldestReadMs: await oldestReadMs(), inUse: new Set<PgId>() }),
    node: { nodeId: 'node' as NodeId, addrs: [], grpcAddr: '', zone: '', version: '' },
  })
  await lease.start()
  await work(lease)
  await lease.stop()
  rmSync(stateDir, { recursive: true })
}

/** What a lease publishes as the oldest read, in milliseconds before the moment of the call. */
async function published(oldestReadMs: () => Promise<number | null>): Promise<number> {
  let ageMs = NaN
  await withLease((age) => (ageMs = age), oldestReadMs)
  return ageMs
}

test('a read that begins while the threads are asked is not older than what the lease publishes', async () => {
  const ageMs = await published(async () => {
    await sleep(THREADS_TAKE_MS)
    return null
  })
  assert.ok(ageMs >= THREADS_TAKE_MS - 2, `published ${ageMs} ms ago, asked ${THREADS_TAKE_MS} ms ago`)
})

test('the oldest running read is published as old as it is', async () => {
  const startedMs = monotonicMs() - 5000
  const ageMs = await published(() => Promise.resolve(startedMs))
  assert.ok(ageMs >= 5000 && ageMs < 6000, String(ageMs))
})

test('a renewal that is asked for comes at once, and one at a time', async () => {
  let renewals = 0
  let running = 0
  const slowly = async (): Promise<null> => {
    assert.equal(++running, 1)
    await sleep(THREADS_TAKE_MS)
    running--
    return null
  }
  await withLease(() => renewals++, slowly, async (lease) => {
    assert.equal(renewals, 1)
    for (let i = 0; i < 3; i++) lease.renewNow()
    while (renewals < 2) await sleep(1)
    await sleep(THREADS_TAKE_MS * 2)
    assert.equal(renewals, 2)
    lease.renewNow()
  })
  assert.equal(renewals, 3, 'what is under way ends before the lease is given back')
})
