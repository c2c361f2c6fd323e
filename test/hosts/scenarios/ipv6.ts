/**
 * IPv6 between nodes: two hosts that have no IPv4 at all, then one that has both and takes peers of either kind at its one
 * port, then one that has IPv4 alone. Each node must reach every other, so the hosts without IPv4 leave before the last
 * one comes.
 */
import assert from 'node:assert/strict'
import { type AnvilNode, anvil, logTail, startNode } from '../anvil-node.ts'
import { ClusterWatch, isAlive, nodeOn } from '../cluster-watch.ts'
import { firstNode, furtherNode, startDatabases } from '../deployment.ts'
import { address6, type Family, type Host, HOST_A, hostA, joinHost } from '../network.ts'
import { StoredObjects } from '../objects.ts'
import type { Scenario, Stage } from '../steps.ts'
import type { Runtime } from './runtime.ts'
import { joined } from './tutorial.ts'

const PATIENCE_MS = 60_000
/** Of every node of this scenario that has IPv6: all addresses of the host, of both kinds. */
const LISTEN_ON_ALL = { HTTP_BIND_ADDR: '[::]:9000', GRPC_BIND_ADDR: '[::]:50051', QUIC_BIND_ADDR: '/ip6/::/udp/7443/quic-v1' }

export const ipv6 = (runtime: Runtime): Scenario => ({
  title: `IPv6: two hosts without IPv4, one with both, one with IPv4 alone (${runtime.name})`,
  async play(stage) {
    const { step, note, after, owner } = stage
    const databases = await step('host A runs both databases', startDatabases)
    after(() => databases.stop())
    const host = async (number: number, ...families: Family[]): Promise<Host> => {
      const one = await joinHost(owner, number, families)
      after(() => one.namespace.remove())
      return one
    }
    const [b, c] = [await host(2, 'ip6'), await host(3, 'ip6')]
    const settings = firstNode(b)
    // the search on the local network asks over IPv4: without, it finds nobody and hinders nothing
    const anvil1 = runtime.node(stage, { ...settings, env: { ...overIpv6(settings.env, 2), ENABLE_MDNS: 'true' } })
    await step('anvil1 starts where there is no IPv4, with its databases at an IPv6 address', () => startNode(anvil1))
    const first = watch(stage, anvil1)
    const objects = new StoredObjects('ipv6')
    await step('it takes objects', async () => {
      await objects.makeBucket(anvil1)
      await objects.put(anvil1, 'alone')
    })
    const further = (on: Host, number: number, bootstrap: string): AnvilNode => {
      const { env, ...more } = furtherNode(on, number - 1, hostA(owner))
      return runtime.node(stage, { ...more, env: { ...overIpv6(env, number), BOOTSTRAP_ADDRS: bootstrap } })
    }
    const join = (node: AnvilNode, seen: Host[]): Promise<ClusterWatch> => joined(stage, { databases, objects, first, seen, node, by: anvil1 })

    const anvil2 = further(c, 3, `/ip6/${address6(2)}/udp/7443/quic-v1`)
    const second = await step('anvil2 joins by an IPv6 address: new shards lie on it, and each serves the objects of the other', async () => {
      const joining = await join(anvil2, [b])
      await objects.put(anvil2, 'through-anvil2')
      for (const node of [anvil1, anvil2]) await objects.check(node)
      return joining
    })
    note(await anvil(anvil2, 'cluster', 'status'))

    const d = await host(4, 'ip4', 'ip6')
    const anvil3 = further(d, 4, `/ip6/${address6(3)}/udp/7443/quic-v1`)
    const both = [`/ip4/${d.address}/udp/7443/quic-v1`, `/ip6/${address6(4)}/udp/7443/quic-v1`]
    anvil3.settings.env['PUBLIC_ADDRS'] = both.join(',')
    await step('anvil3 has both, and says so in PUBLIC_ADDRS: it is in', async () => {
      await join(anvil3, [b, c])
      for (const node of [anvil1, anvil2, anvil3]) await objects.check(node)
      const state = await second.until('anvil3 is a member', (one) => isAlive(one, d.address), PATIENCE_MS)
      assert.deepEqual(nodeOn(state, d.address)?.addrs, both)
    })
    const ofAll = new StoredObjects('all-three')
    await step('both without IPv4 leave: what was written while there were three is served by anvil3 alone', async () => {
      const third = watch(stage, anvil3)
      await ofAll.makeBucket(anvil2)
      await ofAll.put(anvil2, 'copies')
      for (const node of [anvil1, anvil2]) assert.equal(await node.stop(), 0, await logTail(node))
      for (const one of [b, c]) await third.until('they have left', (state) => nodeOn(state, one.address)?.state === 'left', PATIENCE_MS)
      await ofAll.check(anvil3)
      third.stop()
    })

    const e = await host(5, 'ip4')
    const anvil4 = runtime.node(stage, furtherNode(e, 4, d))
    await step('anvil4 has IPv4 alone and joins by it: the two serve each other’s objects', async () => {
      await startNode(anvil4)
      const [third, fourth] = [watch(stage, anvil3), watch(stage, anvil4)]
      await third.until('anvil4 is there', (state) => isAlive(state, e.address) && state.redundancy.code === '1+1', PATIENCE_MS)
      await fourth.until('anvil3 is there', (state) => isAlive(state, d.address) && state.redundancy.code === '1+1', PATIENCE_MS)
      await ofAll.put(anvil4, 'over-ipv4')
      for (const node of [anvil3, anvil4]) await ofAll.check(node)
    })
    note(await anvil(anvil4, 'cluster', 'status'))
  },
})

/** The settings of the compose files with IPv6 addresses wherever they have others. */
function overIpv6(env: Record<string, string>, number: number): Record<string, string> {
  const urls = ['GLOBAL_DATABASE_URL', 'REGIONAL_DATABASE_URL'].map((name) => [name, env[name]!.replace(`@${HOST_A}:`, `@[${address6(1)}]:`)])
  return {
    ...env, ...Object.fromEntries(urls) as Record<string, string>, ...LISTEN_ON_ALL,
    PUBLIC_ADDRS: `/ip6/${address6(number)}/udp/7443/quic-v1`, PUBLIC_GRPC_ADDR: `http://[${address6(number)}]:50051`,
  }
}

function watch(stage: Stage, node: AnvilNode): ClusterWatch {
  const started = new ClusterWatch(node)
  stage.after(async () => started.stop())
  return started
}
