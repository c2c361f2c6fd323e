import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { NodeId } from '../../shared/ids.ts'
import type { Logger } from '../observability/logger.ts'
import { Seeds, type SeedsOptions } from './seeds.ts'

const OURS = 'node-a' as NodeId
const BOOTSTRAP = '/ip4/192.0.2.1/udp/7443/quic-v1'
const OWN = '/ip4/192.0.2.9/udp/7443/quic-v1'

function setUp(t: TestContext, options: Partial<SeedsOptions> = {}) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const found: string[][] = []
  const warnings: string[] = []
  const seeds = new Seeds({
    nodeId: OURS, bootstrapAddrs: [BOOTSTRAP, OWN], knownNodes: () => Promise.resolve([]), alone: () => true,
    found: (addrs) => found.push(addrs), resolved: () => {},
    logger: { warn: (_: object, text: string) => warnings.push(text) } as unknown as Logger,
    ...options,
  })
  t.after(() => seeds.stop())
  return { seeds, found, warnings, later: async (ms: number) => {
    t.mock.timers.tick(ms)
    for (let i = 0; i < 20; i++) await Promise.resolve()
  } }
}

test('bootstrap addresses first, then those of the nodes in the database, the youngest lease first', async (t) => {
  const { seeds, found, later } = setUp(t, {
    knownNodes: async () => [
      { nodeId: OURS, addrs: [OWN], leaseUntilMs: 9 },
      { nodeId: 'node-b' as NodeId, addrs: ['/ip4/192.0.2.2/udp/7443/quic-v1'], leaseUntilMs: 1 },
      { nodeId: 'node-c' as NodeId, addrs: ['/ip4/192.0.2.3/udp/7443/quic-v1/p2p/node-c'], leaseUntilMs: 5 },
    ],
  })
  seeds.start()
  await later(0)
  assert.deepEqual(found, [
    [BOOTSTRAP, OWN],
    [BOOTSTRAP, OWN, '/ip4/192.0.2.3/udp/7443/quic-v1/p2p/node-c', '/ip4/192.0.2.2/udp/7443/quic-v1/p2p/node-b'],
  ])
})

test('an address that turns out to be its own is not tried again', async (t) => {
  const { seeds, found, later } = setUp(t)
  seeds.start()
  seeds.isOwn(OWN)
  await later(60_000)
  assert.deepEqual(found, [[BOOTSTRAP, OWN], [BOOTSTRAP]])
})

test('a database that is away is asked again, and that is said once', async (t) => {
  let asked = 0
  const { seeds, found, warnings, later } = setUp(t, {
    bootstrapAddrs: [],
    knownNodes: () => (++asked < 4 ? Promise.reject(new Error('away')) : Promise.resolve([{ nodeId: 'node-b' as NodeId, addrs: [BOOTSTRAP], leaseUntilMs: 1 }])),
  })
  seeds.start()
  for (let i = 0; i < 5; i++) await later(2_000)
  assert.equal(warnings.length, 1)
  assert.deepEqual(found, [[`${BOOTSTRAP}/p2p/node-b`]])
})

test('who has company asks seldom', async (t) => {
  let asked = 0
  const { seeds, later } = setUp(t, { alone: () => false, knownNodes: async () => (asked++, []) })
  seeds.start()
  for (let i = 0; i < 10; i++) await later(2_000)
  assert.equal(asked, 1)
})

test('a list in the name service stands for its addresses, and for the last ones while it cannot be asked', async (t) => {
  const LIST = '/dnsaddr/cluster.example'
  const answers: (string[] | Error)[] = [new Error('away'), [BOOTSTRAP], new Error('away'), [BOOTSTRAP, OWN]]
  const told: string[] = []
  const { seeds, found, later } = setUp(t, {
    bootstrapAddrs: [LIST],
    resolveList: async (addr) => {
      assert.equal(addr, LIST)
      const answer = answers.shift() ?? new Error('away')
      if (answer instanceof Error) throw answer
      return answer
    },
    resolved: (addr, failure) => told.push(`${addr}: ${failure === null ? 'resolved' : (failure as Error).message}`),
  })
  seeds.start()
  for (let i = 0; i < 5; i++) await later(2_000)
  assert.deepEqual(found, [[BOOTSTRAP], [BOOTSTRAP, OWN]])
  assert.deepEqual(told.slice(0, 4), [`${LIST}: away`, `${LIST}: resolved`, `${LIST}: away`, `${LIST}: resolved`])
})
