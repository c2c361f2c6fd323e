/** Memberships over real transports in one process: how members are found, what they tell, what is a problem. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import type { DriveId } from '../../../src/shared/ids.ts'
import type { MemberDrive } from '../../../src/main/membership/contract.ts'
import { encodeMessage } from '../../../src/main/gossip/message-codec.ts'
import { signRecord } from '../../../src/main/gossip/record-codec.ts'
import { identityFromSeed } from '../../../src/main/transport/identity.ts'
import { MAX_REQUESTS_PER_PEER } from '../../../src/main/transport/limits.ts'
import { freePort } from '../../support/ports.ts'
import { multicastWorks } from '../../support/multicast.ts'
import { known, knowEachOther, member, seenBy, type TestMember } from '../../support/memberships.ts'
import { openTransport } from '../../support/transports.ts'
import { until } from '../../support/until.ts'

// most of the time is waiting for the next round
describe('membership', { concurrency: true }, () => {
  test('a node finds the others through the database, when that answers at last', async (t) => {
    const a = await member(t)
    const c = await member(t, { membership: { bootstrapAddrs: [a.addr] } })
    let asked = 0
    const b = await member(t, {
      membership: {
        knownNodes: async () => {
          if (++asked === 1) throw new Error('the database is away')
          return [known(a), known(b)]
        },
      },
    })
    await knowEachOther([a, b, c])
    assert.ok(asked >= 2, `asked ${asked} times`)
  })

  test('a node finds the others by mDNS alone', async (t) => {
    const mdns = { port: await freePort(), intervalMs: 300 }
    if (!(await multicastWorks(mdns.port))) return t.skip('this machine passes no multicast')
    await knowEachOther([await member(t, { transport: { mdns } }), await member(t, { transport: { mdns } })])
  })

  test('an address of a member that does not answer is no problem while another one does', async (t) => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1')
    t.after(() => silent.close())
    await once(silent, 'listening')
    const elsewhere = `/ip4/127.0.0.1/udp/${silent.address().port}/quic-v1`
    const a = await member(t, { moreAddrs: [elsewhere] })
    const b = await member(t, { membership: { bootstrapAddrs: [`${elsewhere}/p2p/${a.transport.nodeId}`, a.addr] } })
    await knowEachOther([a, b])
    await until('the silent address was given up', () => b.transport.stats().failedDials > 0)
    assert.deepEqual(b.membership.problems, [])
  })

  test('what a node announces reaches the others with a higher incarnation', async (t) => {
    const a = await member(t)
    const b = await member(t, { membership: { bootstrapAddrs: [a.addr] } })
    await knowEachOther([a, b])
    const before = seenBy(a, b)!.incarnation
    const drives: MemberDrive[] = [{ driveId: 'a1'.repeat(16) as DriveId, state: 'online', totalBytes: 1e12, freeBytes: 5e11 }]
    let changes = 0
    a.membership.on('change', () => changes++)
    b.membership.announceDrives(drives)
    await until('a sees the drives', () => seenBy(a, b)?.drives.length === 1)
    assert.deepEqual(seenBy(a, b)!.drives, drives)
    assert.ok(seenBy(a, b)!.incarnation > before)
    assert.ok(changes > 0)
    assert.deepEqual(b.membership.self.drives, drives)
    assert.equal(b.membership.self.self, true)
  })

  test('a clock that is far off is told on both sides, and is no reason to part', async (t) => {
    const a = await member(t)
    const wallMs = (): number => Date.now() - 3_600_000
    const b = await member(t, { transport: { nowMs: wallMs }, membership: { bootstrapAddrs: [a.addr], wallMs } })
    await knowEachOther([a, b])
    for (const [one, other, way] of [[a, b, 'behind'], [b, a, 'ahead of']] as const) {
      const problem = await until('the clock is told', () => one.membership.problems.find(({ kind }) => kind === 'clock'))
      assert.equal(problem.peer, other.transport.nodeId)
      assert.match(problem.text, new RegExp(`clock that is 3[56]\\d\\d\\.\\d s ${way} the one of this node`))
    }
  })

  test('one node id in two live processes is told by the others and by both', async (t) => {
    const seed = randomBytes(32)
    const a = await member(t)
    const first = await member(t, { seed, transport: { host: '127.0.0.2' }, membership: { bootstrapAddrs: [a.addr] } })
    await knowEachOther([a, first])
    const second = await member(t, { seed, transport: { host: '127.0.0.3' }, membership: { bootstrapAddrs: [a.addr] } })
    for (const one of [a, first, second]) {
      await until('the double is told', () => one.membership.problems.some(({ kind }) => kind === 'duplicate-node'), {
        timeoutMs: 60_000, detail: () => JSON.stringify([a, first, second].map(({ membership: { problems, members } }) => ({ problems, members }))),
      })
    }
  })

  test('a secret is changed node by node while all stay members', async (t) => {
    const seeds = [randomBytes(32), randomBytes(32)]
    const [old, fresh] = ['the old secret of the cluster', 'the new secret of the cluster']
    const open = (i: number, clusterSecrets: string[], bootstrapAddrs: string[]): Promise<TestMember> =>
      member(t, { seed: seeds[i]!, transport: { clusterSecrets }, membership: { bootstrapAddrs } })
    const first = await open(0, [old], [])
    const nodes = [first, await open(1, [old], [first.addr])]
    await knowEachOther(nodes)
    for (const secrets of [[old, fresh], [fresh, old], [fresh]]) {
      for (const i of [0, 1]) {
        await nodes[i]!.end()
        nodes[i] = await open(i, secrets, nodes.filter((_, j) => j !== i).map(({ addr }) => addr))
        await knowEachOther(nodes)
      }
    }
    // the addresses of processes that have ended answer no more
    assert.deepEqual(nodes.flatMap(({ membership }) => membership.problems).filter(({ kind }) => kind !== 'unreachable'), [])
  })

  test('a newcomer gets the whole of a table that takes more messages than a peer answers at once', async (t) => {
    const swim = { exchangeIntervalMs: 3_600_000 }
    const a = await member(t, { membership: { swim } })
    const teller = await openTransport(t)
    await teller.transport.connect(a.addr)
    const chunks = Math.ceil(1.5 * MAX_REQUESTS_PER_PEER)
    for (let i = 0; i < chunks; i++) await teller.transport.request(a.transport.nodeId, 'gossip', await tableOfDead(MEMBERS_IN_CHUNK))
    await until('all are known to the first', () => a.membership.members.length === 1 + chunks * MEMBERS_IN_CHUNK)
    const newcomer = await member(t, { membership: { swim, bootstrapAddrs: [a.addr] } })
    await until('all are known to the newcomer', () => newcomer.membership.members.length === 2 + chunks * MEMBERS_IN_CHUNK, {
      timeoutMs: 60_000, detail: () => `${newcomer.membership.members.length} of ${2 + chunks * MEMBERS_IN_CHUNK}`,
    })
  })
})

// ------------------------------------------------------------------------------------------------------------ support

/** As many as the core puts into one message when their records are as long as they may be. */
const MEMBERS_IN_CHUNK = 16

async function tableOfDead(count: number): Promise<Uint8Array> {
  const identities = await Promise.all(Array.from({ length: count }, () => identityFromSeed(randomBytes(32))))
  const entries = identities.map(({ nodeId, sign }) => {
    const addrs = Array.from({ length: 7 }, (_, i) => `/dns/${'x'.repeat(480)}${i}/udp/7443/quic-v1`)
    const record = { nodeId, processId: randomUUID(), incarnation: Date.now(), region: 'test', zone: '', addrs, grpcAddr: '', version: '0.0.0', startedMs: Date.now(), drives: [] }
    return { signed: signRecord(record, false, sign), state: 'dead' as const, goneMs: 1000 }
  })
  return encodeMessage({ kind: 'entries', entries, wanted: [] })
}
