/** What the cluster's state says of a node that reaches the database and is no member: over real transports and a real Postgres. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { after, before, test, type TestContext } from 'node:test'
import { pino } from 'pino'
import { clusterTable } from '../../../src/main/cli/cluster-table.ts'
import { clusterStatusSource } from '../../../src/main/cluster-status.ts'
import type { ClusterStatus__Output } from '../../../src/main/grpc/generated/anvil/v1/ClusterStatus.ts'
import { createMembership } from '../../../src/main/membership/index.ts'
import { identityFromSeed } from '../../../src/main/transport/identity.ts'
import type { NodeId } from '../../../src/shared/ids.ts'
import { startMetadata, type TestMetadata } from '../../support/metadata.ts'
import { DEPLOYMENT, openTransport, type TestTransportOptions } from '../../support/transports.ts'
import { until } from '../../support/until.ts'

let database: TestMetadata
before(async () => {
  database = await startMetadata()
})
after(() => database.stop())

interface StatusNode {
  nodeId: NodeId
  /** By id; `problem` as it is shown. */
  seen(): Promise<Map<string, { state: string; problem: string }>>
  table(): Promise<string>
}

/** A node that is registered with a lease, finds others through the database, and answers with the cluster's state. */
async function node(t: TestContext, options: TestTransportOptions = {}): Promise<StatusNode> {
  const { metadata } = database
  const seed = options.seed ?? randomBytes(32)
  const processId = randomUUID()
  const { transport, addr } = await openTransport(t, { processId, ...options, seed })
  const { nodeId } = transport
  const record = { addrs: [addr], grpcAddr: '', zone: '', version: '0.0.0' }
  await metadata.registerNode({ nodeId, ...record }, 0)
  await metadata.renewLease(nodeId, processId, 600_000, null)
  const membership = await createMembership({
    identity: await identityFromSeed(seed), transport, bootstrapAddrs: [], logger: pino({ level: 'silent' }), knownNodes: () => metadata.nodes(),
    record: { processId, region: 'test', startedMs: Date.now(), drives: [], ...record },
  })
  t.after(() => membership.leave())
  const status = clusterStatusSource({
    deploymentId: DEPLOYMENT, region: 'test', nodeId, embedded: false, metadata, globalHealth: () => ({ state: 'ok', reason: '' }),
    members: () => membership.members, problems: () => membership.problems, placeable: () => [], code: () => null,
    risk: () => ({ nextDrive: [], nodes: new Map(), zones: new Map() }) as never, warnings: () => [],
  })
  return {
    nodeId,
    seen: async () => new Map((await status()).nodes!.map(({ id, state, problem }) => [id!, { state: state!, problem: problem! }])),
    table: async () => clusterTable((await status()) as ClusterStatus__Output, Date.now()).join('\n'),
  }
}

test('a node with another secret is refused, not alive, as the others see it and as it sees itself; with the right one it is a member', async (t) => {
  await database.sql('DELETE FROM nodes')
  const [a, b] = [await node(t), await node(t)]
  const both = async (one: StatusNode): Promise<boolean> => [a, b].every(({ nodeId }) => seen.get(one)?.get(nodeId)?.state === 'alive')
  const seen = new Map<StatusNode, Awaited<ReturnType<StatusNode['seen']>>>()
  const look = async (one: StatusNode): Promise<void> => void seen.set(one, await one.seen())
  const detail = (): string => JSON.stringify([...seen.values()].map((each) => [...each]))
  for (const one of [a, b]) {
    await until('the two are members', async () => {
      await look(one)
      return both(one)
    }, { detail })
  }

  const seed = randomBytes(32)
  await t.test('while the secret is wrong', async (wrong) => {
    const stranger = await node(wrong, { seed, clusterSecrets: ['another secret than theirs'] })
    for (const one of [a, b]) {
      await until('it is refused', async () => {
        await look(one)
        return seen.get(one)!.get(stranger.nodeId)?.state === 'refused'
      }, { detail })
      assert.match(seen.get(one)!.get(stranger.nodeId)!.problem, /ANVIL_CLUSTER_SECRET differs/)
      assert.ok(await both(one), detail())
      assert.match(await one.table(), new RegExp(`${stranger.nodeId} +refused[^]*node ${stranger.nodeId} .*ANVIL_CLUSTER_SECRET differs`))
    }
    await until('it knows of itself', async () => {
      await look(stranger)
      return [a, b, stranger].every(({ nodeId }) => seen.get(stranger)!.get(nodeId)?.state === 'refused')
    }, { detail })
    assert.match(seen.get(stranger)!.get(stranger.nodeId)!.problem, /is no member of the cluster: node \w+ .*ANVIL_CLUSTER_SECRET differs/)
  })

  const again = await node(t, { seed })
  await until('it is a member, and nothing is said of it any more', async () => {
    await Promise.all([a, b, again].map(look))
    return [a, b, again].every((one) => [a, b, again].every(({ nodeId }) => {
      const { state, problem } = seen.get(one)!.get(nodeId)!
      return state === 'alive' && problem === ''
    }))
  }, { detail, timeoutMs: 60_000 })
})

test('a node id in two live processes is told at the node', async (t) => {
  await database.sql('DELETE FROM nodes')
  const [a, b] = [await node(t), await node(t, { seed: Buffer.alloc(32, 7) })]
  await until('they know each other', async () => (await a.seen()).get(b.nodeId)?.state === 'alive')
  await node(t, { seed: Buffer.alloc(32, 7), host: '127.0.0.2' })
  for (const one of [a, b]) {
    await until('it is told', async () => /twice|same node id/.test((await one.seen()).get(b.nodeId)?.problem ?? ''), {
      timeoutMs: 60_000, detail: async () => JSON.stringify([...(await one.seen())]),
    })
  }
})
