/**
 * The tutorial: host A with both databases and anvil1, host B whose anvil2 has nothing but the settings of
 * docker-compose.node.yml, then two more hosts that know anvil2 alone.
 */
import assert from 'node:assert/strict'
import os from 'node:os'
import { until } from '../../support/until.ts'
import { type AnvilNode, anvil, logTail, startNode, untilReady } from '../anvil-node.ts'
import { ClusterWatch, isAlive, nodeOn } from '../cluster-watch.ts'
import { type Databases, firstNode, furtherNode, startDatabases } from '../deployment.ts'
import { type Host, hostA, joinHost } from '../network.ts'
import { shardedKey, StoredObjects } from '../objects.ts'
import { nodesHolding } from '../placed.ts'
import type { Scenario, Stage } from '../steps.ts'
import type { Runtime } from './runtime.ts'

/** From a node's start until both sides have it as a member, and until new shards lie on it. */
export const JOIN_MS = 5000
/** Where nothing is promised. */
const PATIENCE_MS = 60_000

export const tutorial = (runtime: Runtime): Scenario => ({
  title: `The tutorial: four hosts, one after the other (${runtime.name})`,
  async play(stage) {
    const { step, note, after, owner } = stage
    const a = hostA(owner)
    const databases = await step('host A runs both databases', startDatabases)
    after(() => databases.stop())
    const anvil1 = runtime.node(stage, firstNode(a))
    await step('anvil1 starts with --init-cluster', () => startNode(anvil1))
    const first = watch(stage, anvil1)
    const objects = new StoredObjects('tutorial')
    await step('it takes objects while it is alone', async () => {
      await objects.makeBucket(anvil1)
      await objects.put(anvil1, 'alone')
    })

    const b = await joinHost(owner, 2)
    after(() => b.namespace.remove())
    const anvil2 = runtime.node(stage, furtherNode(b, 2, a))
    const second = await step(`anvil2 starts with the settings of docker-compose.node.yml: within ${JOIN_MS / 1000} s both sides have it and new shards lie on it`, () =>
      joined(stage, { databases, objects, first, seen: [a], node: anvil2, by: anvil1 }))
    await step('each node serves the objects of the other', async () => {
      await objects.put(anvil2, 'through-anvil2')
      await objects.check(anvil1)
      await objects.check(anvil2)
    })

    const nodes = [anvil1, anvil2]
    for (const number of [3, 4]) {
      const host = await joinHost(owner, number)
      after(() => host.namespace.remove())
      const node = runtime.node(stage, furtherNode(host, number, b))
      await step(`anvil${number}, which knows anvil2 alone, is in the same way`, () =>
        joined(stage, { databases, objects, first, seen: nodes.map((one) => one.host), node, by: anvil1 }))
      nodes.push(node)
    }
    note(await anvil(anvil1, 'cluster', 'status'))
    await step('every node serves every object', async () => {
      for (const node of nodes) await objects.check(node)
    })

    const stranger = await joinHost(owner, 5)
    after(() => stranger.namespace.remove())
    await step('a node with another ANVIL_CLUSTER_SECRET is not let in, and says why', async () => {
      const settings = furtherNode(stranger, 5, b)
      const node = runtime.node(stage, { ...settings, env: { ...settings.env, ANVIL_CLUSTER_SECRET: 'not the secret of this cluster' } })
      await node.launch()
      await until('it names the secret in its log', async () => /wrong-secret/.test(await node.log()), { timeoutMs: PATIENCE_MS, detail: () => logTail(node) })
      assert.ok(first.last !== null && !isAlive(first.last, stranger.address), 'anvil1 does not have it as a member')
      note((await node.log()).split('\n').filter((line) => /wrong-secret/.test(line)).slice(0, 2).join('\n'))
      await node.dispose()
    })

    const firstId = first.last?.nodeId
    await step('anvil1 ends on SIGTERM, and the others say that it has left', async () => {
      assert.equal(await anvil1.stop(), 0, await logTail(anvil1))
      await second.until('anvil1 has left', (state) => nodeOn(state, a.address)?.state === 'left', PATIENCE_MS)
    })
    await step('without it the others serve every object, and take new ones', async () => {
      for (const node of nodes.slice(1)) await objects.check(node)
      await objects.put(anvil2, 'without-anvil1')
    })
    await step('anvil1 starts again, without any bootstrap address, and is back', async () => {
      assert.equal(anvil1.settings.env['BOOTSTRAP_ADDRS'], undefined)
      await startNode(anvil1)
      await second.until('anvil1 is back', (state) => isAlive(state, a.address), PATIENCE_MS)
      await first.until('all four are alive', (state) => nodes.every((node) => isAlive(state, node.host.address)), PATIENCE_MS)
      assert.equal(second.last === null ? null : nodeOn(second.last, a.address)?.id, firstId, 'it is the member that it was')
      await objects.check(anvil1)
    })
  },
})

export interface Joining {
  databases: Databases
  objects: StoredObjects
  /** Of a node that is in already. */
  first: ClusterWatch
  /** Hosts of the nodes that are in already. */
  seen: Host[]
  node: AnvilNode
  /** Through which new objects come. */
  by: AnvilNode
}

/**
 * Starts the node and waits until it is in, within JOIN_MS from its start. A machine that others keep busy is not held to
 * that: the start of a process alone may take longer there.
 */
export async function joined(stage: Stage, { databases, objects, first, seen, node, by }: Joining): Promise<ClusterWatch> {
  const began = performance.now()
  const took = (): number => performance.now() - began
  await node.launch()
  const answering = untilReady(node).then(took)
  answering.catch(() => undefined) // awaited below; what fails before says more
  const itself = watch(stage, node)
  const { address } = node.host
  const here = await first.until(`${node.name} is a member`, (state) => isAlive(state, address), PATIENCE_MS)
  const there = took()
  await itself.until('the others are members', (state) => seen.every((host) => isAlive(state, host.address)), PATIENCE_MS)
  const both = took()
  const id = nodeOn(here, address)?.id ?? ''
  let round = 0
  await until(`new shards are placed on ${node.name}`, async () => {
    const prefix = `${node.name}-joins-${round++}`
    await objects.put(by, prefix)
    return (await nodesHolding(databases, shardedKey(prefix))).includes(id)
  }, { timeoutMs: PATIENCE_MS, detail: () => logTail(node) })
  const placed = took()
  const ready = await answering
  const busy = (os.loadavg()[0] ?? 0) > os.availableParallelism()
  const figures = `ready after ${seconds(ready)}, a member on the other side after ${seconds(there)}, on both sides after ${seconds(both)}, with new shards after ${seconds(placed)}`
  stage.note(`${figures}${busy ? ' (the machine is busy: not held to the limit)' : ''}`)
  assert.ok(busy || placed <= JOIN_MS, figures)
  return itself
}

function watch(stage: Stage, node: AnvilNode): ClusterWatch {
  const started = new ClusterWatch(node)
  stage.after(async () => started.stop())
  return started
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
