/** Host B with a container network: what runs there has an address that nobody else reaches, and its ports are published. */
import { startNode } from '../anvil-node.ts'
import { ClusterWatch, isAlive } from '../cluster-watch.ts'
import { firstNode, furtherNode, startDatabases } from '../deployment.ts'
import { type ContainerNetwork, containerNetwork, type Host, hostA, joinHost } from '../network.ts'
import { StoredObjects } from '../objects.ts'
import { publishPorts } from '../published-ports.ts'
import type { Scenario, Stage } from '../steps.ts'
import type { Runtime } from './runtime.ts'
import { JOIN_MS, joined } from './tutorial.ts'

const ANSWER_MS = 30_000

export const publishedAlone = (runtime: Runtime): Scenario => ({
  title: `Published ports: a node in a container network (${runtime.name})`,
  async play(stage) {
    const { step, after } = stage
    const databases = await step('host A runs both databases', startDatabases)
    after(() => databases.stop())
    const { host, inside } = await publishingHost(stage)
    const node = runtime.node(stage, firstNode(host, inside.namespace))
    await step('a node starts in it, reaches the databases on host A and is reached at 203.0.113.2', () => startNode(node))
    const objects = new StoredObjects('published-alone')
    await step('objects of every size class are put and read back', async () => {
      await objects.makeBucket(node)
      await objects.put(node, 'first')
      await objects.check(node)
    })
    await step('its gRPC port answers at PUBLIC_GRPC_ADDR', async () => {
      const watch = new ClusterWatch(node)
      after(async () => watch.stop())
      await watch.until('it is alive', (state) => isAlive(state, host.address), ANSWER_MS)
    })
  },
})

export const publishedPorts = (runtime: Runtime): Scenario => ({
  title: `Published ports: anvil2 in a container network of host B (${runtime.name})`,
  async play(stage) {
    const { step, after, owner } = stage
    const a = hostA(owner)
    const databases = await step('host A runs both databases', startDatabases)
    after(() => databases.stop())
    const anvil1 = runtime.node(stage, firstNode(a))
    await step('anvil1 starts with --init-cluster', () => startNode(anvil1))
    const first = new ClusterWatch(anvil1)
    after(async () => first.stop())
    const objects = new StoredObjects('published')
    await objects.makeBucket(anvil1)

    const { host, inside } = await publishingHost(stage)
    const anvil2 = runtime.node(stage, furtherNode(host, 2, a, inside.namespace))
    await step(`anvil2 starts in it: within ${JOIN_MS / 1000} s both sides have it and new shards lie on it`, () =>
      joined(stage, { databases, objects, first, seen: [a], node: anvil2, by: anvil1 }))
    // anvil2 has never sent anything there, so no translation is open: its ports alone let anvil3 in.
    const c = await joinHost(owner, 3)
    after(() => c.namespace.remove())
    const anvil3 = runtime.node(stage, furtherNode(c, 3, host))
    await step('anvil3 on a third host joins through the published port of anvil2', () =>
      joined(stage, { databases, objects, first, seen: [a, host], node: anvil3, by: anvil1 }))
    await step('every node serves the objects of the others', async () => {
      await objects.put(anvil2, 'through-anvil2')
      for (const node of [anvil1, anvil2, anvil3]) await objects.check(node)
    })
  },
})

async function publishingHost({ step, after, owner }: Stage): Promise<{ host: Host; inside: ContainerNetwork }> {
  const host = await joinHost(owner, 2)
  after(() => host.namespace.remove())
  const inside = await containerNetwork(owner, host)
  after(() => inside.namespace.remove())
  const stopForwarder = await step('host B publishes 9000/tcp, 50051/tcp and 7443/udp of its container network', () => publishPorts(host, inside))
  after(async () => stopForwarder())
  return { host, inside }
}
