/**
 * The fence of a partition (DESIGN §7, §13 rules 5 and 6): six nodes fall into three and three, and both halves still reach
 * Postgres. Each half says that the other is dead, and nothing moves, since the database sees every lease held; nor do they
 * seal each other's groups. Then two nodes die for good, and what they held moves as soon as there are drives for it: each
 * member once.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../support/until.ts'
import { type AnvilNode, logTail, startNode } from '../anvil-node.ts'
import { ClusterWatch, type ClusterState, nodeOn } from '../cluster-watch.ts'
import { firstNode, furtherNode, startDatabases } from '../deployment.ts'
import { type GroupChange, GroupJournal, type GroupStep } from '../group-journal.ts'
import { type Host, joinHost } from '../network.ts'
import { StoredObjects } from '../objects.ts'
import { cut, heal } from '../partition.ts'
import type { Scenario, Stage } from '../steps.ts'
import type { Runtime } from './runtime.ts'

/** Where nothing is promised; others keep the machine busy. */
const PATIENCE_MS = 180_000
/** Longer than a node's lease in the database (30 s): if it were not renewed, moves would begin within this time. */
const HELD_MS = 45_000
/** Nothing but the lease and gossip holds moves back. */
const REPAIR_DELAY_SECS = 1
const OFFERED_BYTES = 300_000
/** Between two objects through the same node. */
const PAUSE_MS = 1000

export const partition = (runtime: Runtime): Scenario => ({
  title: `A partition: six nodes, three and three, and both sides reach Postgres (${runtime.name})`,
  async play(stage) {
    const { step, note, after } = stage
    const databases = await step('host A runs both databases', startDatabases)
    after(() => databases.stop())
    const hosts: Host[] = []
    for (let number = 2; number <= 7; number++) hosts.push(await host(stage, number))
    const sides = [hosts.slice(0, 3), hosts.slice(3)] as const
    const nodes = hosts.map((one, i) => node(stage, runtime, one, i + 1, hosts[0]!))
    await step('six nodes form a cluster', async () => {
      await startNode(nodes[0]!)
      await Promise.all(nodes.slice(1).map(startNode))
    })
    const watches = nodes.map((one) => watch(stage, one))
    const eachSees = (what: string, here: readonly ClusterWatch[], condition: (state: ClusterState) => boolean) =>
      Promise.all(here.map((one) => one.until(what, condition, PATIENCE_MS)))
    await step('each of them sees all six and the code 4+2', () =>
      eachSees('all six take shards', watches, (state) => areAlive(state, hosts) && state.redundancy.code.startsWith('4+2')))
    const objects = new StoredObjects('partition')
    await objects.makeBucket(nodes[0]!)
    for (const one of nodes) await objects.put(one, `before-${one.name}`)
    const journal = await GroupJournal.open(databases)
    after(() => journal.close())
    const originals = (await journal.rows<{ id: number }>('SELECT id::int FROM placement_groups WHERE state = 0')).map(({ id }) => id)
    assert.ok(originals.length > 0)
    /** Nothing is opened that was open a moment ago, and what will be wanted when all are back stays. */
    const assertCalm = (steps: readonly GroupStep[]): void => {
      assert.deepEqual(openedTwice(steps), [])
      assert.deepEqual(steps.filter(({ group, kind }) => kind !== 'opened' && originals.includes(group)), [], 'groups of the whole cluster stay open')
    }

    const writers = nodes.map((one) => new Writer(objects, one))
    after(() => Promise.all(writers.map((writer) => writer.stop())))
    await step('the network between the two sides is cut, and each says that the other is dead', async () => {
      await cut(sides)
      await Promise.all([0, 1].map((side) =>
        eachSees('the other side is dead', watches.slice(side * 3, side * 3 + 3), (state) => areDead(state, sides[1 - side]!))))
    })
    await step('both sides take new objects, with the code of three nodes', async () => {
      await eachSees('the code is 1+2', watches, (state) => state.redundancy.code.startsWith('1+2'))
      const before = writers.map(({ taken }) => taken)
      await until('each node takes objects', () => writers.every(({ taken }, i) => taken > before[i]! + 2), {
        timeoutMs: PATIENCE_MS, detail: () => JSON.stringify(writers.map(({ taken, refused }) => ({ taken, refused }))),
      })
    })
    await step(`for ${HELD_MS / 1000} s both go on, and no group gets a member, an intent or a generation`, async () => {
      const before = writers.map(({ taken }) => taken)
      await sleep(HELD_MS)
      sides.forEach((_, side) => {
        for (const one of watches.slice(side * 3, side * 3 + 3)) assert.ok(one.last !== null && areDead(one.last, sides[1 - side]!), 'the other side is still dead to it')
      })
      assert.ok(writers.every(({ taken }, i) => taken > before[i]!), 'each node took objects all the time')
      assert.deepEqual(await journal.changes(), [])
      const steps = await journal.steps()
      assertCalm(steps)
      assert.deepEqual(steps.filter(({ kind, k, m }) => kind === 'sealed' && k === 1 && m === 2), [], 'no half seals what the other writes into')
      note(`since the cut ${counted(steps, 'opened')} groups were opened and ${counted(steps, 'sealed')} sealed, of views that lasted for a moment`)
    })
    await step('the network heals: all see each other alive, and every acknowledged object is right through every node', async () => {
      await heal(sides)
      await eachSees('all six are alive', watches, (state) => areAlive(state, hosts) && state.redundancy.code.startsWith('4+2'))
      await Promise.all(writers.map((writer) => writer.stop()))
      await until('no shard waits for its repair', async () => (await count(journal, 'SELECT count(*)::int AS n FROM repair_queue')) === 0, {
        timeoutMs: PATIENCE_MS, everyMs: 500, detail: () => logTail(nodes[0]!),
      })
      for (const one of nodes) await objects.check(one)
      assert.deepEqual(await journal.changes(), [])
      await until('the groups of the halves are sealed', async () =>
        (await count(journal, 'SELECT count(*)::int AS n FROM placement_groups WHERE state = 0 AND k = 1')) === 0, { timeoutMs: PATIENCE_MS, everyMs: 500 })
      for (const one of nodes) await objects.put(one, `healed-${one.name}`)
      assertCalm(await journal.steps())
    })
    note(`${objects.count} objects; ${sum(writers.map(({ taken }) => taken))} were offered and taken from the cut on, ${sum(writers.map(({ refused }) => refused))} refused with 503`)

    const dead = await Promise.all([hosts[2]!, hosts[5]!].map(async ({ address }) => nodeOn(await watches[0]!.until('it knows all', (state) => nodeOn(state, address) !== undefined, PATIENCE_MS), address)!))
    const deadDrives = dead.flatMap(({ drives }) => drives.map(({ id }) => id))
    const alive = nodes.filter((_, i) => i !== 2 && i !== 5)
    await step('one node of each side dies for good, and two new hosts join', async () => {
      await Promise.all([nodes[2]!.kill(), nodes[5]!.kill()])
      for (const number of [8, 9]) {
        const one = node(stage, runtime, await host(stage, number), number - 1, hosts[0]!)
        await startNode(one)
        alive.push(one)
      }
    })
    await step('what the dead held moves to other drives, each member of each group once', async () => {
      const held = `SELECT count(*)::int AS n FROM placement_groups g WHERE g.members && $1::uuid[] AND EXISTS (SELECT FROM blobs b WHERE b.pg_id = g.id)`
      await until('no group with objects has a member on their drives', async () => (await count(journal, held, [deadDrives])) === 0, {
        timeoutMs: PATIENCE_MS, everyMs: 500,
        detail: async () => `${JSON.stringify(await journal.rows('SELECT id, k, m, state, members, incoming_index, incoming_drive FROM placement_groups WHERE members && $1::uuid[]', [deadDrives]))}\n${await logTail(nodes[0]!)}`,
      })
      const changes = await journal.changes()
      const replaced = changes.filter(({ kind }) => kind === 'replaced')
      assert.ok(replaced.length > 0, 'something moved')
      assert.deepEqual(twice(replaced), [], 'no member was replaced twice')
      assert.ok(replaced.every(({ drive }) => !deadDrives.includes(drive)))
      const intents = changes.filter(({ kind }) => kind === 'intent')
      note(`${replaced.length} members of ${new Set(replaced.map(({ group }) => group)).size} groups were replaced, after ${intents.length} intents`)
    })
    await step('every object is right through every node, also after two more have died', async () => {
      for (const one of alive) await objects.check(one)
      await until('no shard waits for its repair', async () => (await count(journal, 'SELECT count(*)::int AS n FROM repair_queue')) === 0, { timeoutMs: PATIENCE_MS, everyMs: 500 })
      await Promise.all([nodes[1]!.kill(), nodes[4]!.kill()])
      for (const one of alive) if (await one.running()) await objects.check(one)
    })
  },
})

/** Offers a node one object after the other. */
class Writer {
  taken = 0
  refused = 0
  #stopped = false
  readonly #done: Promise<void>

  constructor(objects: StoredObjects, node: AnvilNode) {
    this.#done = this.#write(objects, node)
    this.#done.catch(() => undefined) // `stop` tells
  }

  async #write(objects: StoredObjects, node: AnvilNode): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      if (await objects.offer(node, `offered-${node.name}/${i}`, OFFERED_BYTES)) this.taken++
      else this.refused++
      await sleep(PAUSE_MS)
    }
  }

  /** @throws Error that ended it early */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
  }
}

async function host({ owner, after }: Stage, number: number): Promise<Host> {
  const joined = await joinHost(owner, number)
  after(() => joined.namespace.remove())
  return joined
}

function node(stage: Stage, runtime: Runtime, at: Host, number: number, bootstrap: Host): AnvilNode {
  const settings = number === 1 ? firstNode(at) : furtherNode(at, number, bootstrap)
  const env = {
    ...settings.env, ANVIL_REPAIR_DELAY_SECS: String(REPAIR_DELAY_SECS), ANVIL_WORKERS: '1', ANVIL_GATEWAY_THREADS: '0',
  }
  return runtime.node(stage, { ...settings, env })
}

function watch({ after }: Stage, one: AnvilNode): ClusterWatch {
  const started = new ClusterWatch(one)
  after(async () => started.stop())
  return started
}

const areAlive = (state: ClusterState, hosts: readonly Host[]): boolean => hosts.every(({ address }) => nodeOn(state, address)?.state === 'alive')
const areDead = (state: ClusterState, hosts: readonly Host[]): boolean => hosts.every(({ address }) => nodeOn(state, address)?.state === 'dead')

/** Members that were replaced more than once, as `group/index`. */
function twice(changes: readonly GroupChange[]): string[] {
  const times = Map.groupBy(changes, ({ group, index }) => `${group}/${index}`)
  return [...times].filter(([, each]) => each.length > 1).map(([member]) => member)
}

/** Groups that were opened more than once. */
function openedTwice(steps: readonly GroupStep[]): string[] {
  const times = Map.groupBy(steps.filter(({ kind }) => kind === 'opened'), ({ k, m, members }) => `${k}+${m} ${members.join()}`)
  return [...times].filter(([, each]) => each.length > 1).map(([group]) => group)
}

const counted = (steps: readonly GroupStep[], kind: GroupStep['kind']): number => steps.filter((step) => step.kind === kind).length

async function count(journal: GroupJournal, query: string, values: unknown[] = []): Promise<number> {
  const [row] = await journal.rows<{ n: number }>(query, values)
  return row!.n
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)
