/**
 * Bit rot: sealed shards of one drive go bad in its segment files while the node runs. Clients read them at once, in half of
 * the cases while another node is dead, then the drive is scrubbed; in half of them its index is lost too, so that a damaged
 * header hides the shard. Each must have been made good at the end, and the judgement of all answers shows that none was served.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { runNow, status } from '../../e2e/status.ts'
import { until } from '../../support/until.ts'
import type { NodeProcess } from '../../support/node-process.ts'
import { type Decay, letRot, type RottenShard, type Shard, shardName, stillRotten } from '../rot.ts'
import type { Stage } from '../stage.ts'
import { type Fault, freeNodes } from './fault.ts'

const PATIENCE_MS = 240_000
const SHARDS = 48
const SHOWN = 5
/** Tries of one read: others keep the machine busy. */
const TRIES = 3

/** `spare`: its blob may lose two, and has them all. */
type Victim = Shard & { key: string | null; spare: boolean }

export const rot: Fault = {
  name: 'bit rot', weight: 2, alone: true, always: true,
  draw(stage, random) {
    const nodes = freeNodes(stage, random, 2)
    const indexLost = random.chance(0.5)
    const otherDead = random.chance(0.5)
    if (nodes === null) return null
    const [i, other] = random.some(nodes, 2) as [number, number]
    return {
      text: `bits flipped and sectors overwritten in sealed shards of node ${i}${indexLost ? ', headers too, and its index is lost' : ''}${otherDead ? `, while node ${other} is dead` : ''}`,
      nodes, survivable: true,
      async play() {
        const node = stage.node(i)
        const drive = node.drives[0]!
        const wanted = await shardsOn(stage, (await status(node)).drives[0]!.driveId!)
        const victims = random.some(wanted.filter(({ spare }) => spare), SHARDS)
        const decays: Decay[] = ['bit', 'bit', 'zeros', 'misdirected', ...(indexLost ? ['header' as const] : [])]
        const rotten = letRot(drive, victims, decays, random)
        if (rotten.length === 0) return 'it held no shard'
        if (otherDead) await stage.kill(other)
        await readThem(stage, victims.filter((victim) => rotten.some((one) => shardName(one) === shardName(victim))), i, otherDead ? other : null)
        if (otherDead) await stage.start(other)
        const byReads = reported(stage, rotten)
        if (indexLost) {
          await stage.kill(i)
          rmSync(join(drive, 'index.redb'), { force: true })
          await stage.start(i)
        }
        await scrubbed(node)
        await untilGood(stage, drive, rotten)
        await stage.untilWhole(PATIENCE_MS)
        const found = reported(stage, rotten)
        const kinds = Object.entries(Object.groupBy(rotten, ({ decay }) => decay)).map(([decay, list]) => `${list.length} ${decay}`)
        return `${rotten.length} shards (${kinds.join(', ')}), ${byReads} of them reported by reads, ${found - byReads} later`
      },
    }
  },
}

/** What rows want on a drive, with the key of an object that is one blob. */
async function shardsOn(stage: Stage, driveId: string): Promise<Victim[]> {
  const rows = await stage.sql<{ blob_id: string; pg_id: string; index: number; key: string | null; spare: boolean }>(`
    SELECT b.blob_id, b.pg_id, array_position(g.members, $1::uuid) - 1 AS index, min(o.key) AS key,
      g.m > 1 AND g.incoming_index IS NULL AND NOT EXISTS (SELECT FROM repair_queue r WHERE r.bucket_id = b.bucket_id AND r.blob_id = b.blob_id) AS spare
    FROM blobs b JOIN placement_groups g ON g.id = b.pg_id LEFT JOIN objects o ON o.bucket_id = b.bucket_id AND o.content_id = b.blob_id AND o.body = 1
    WHERE b.refs > 0 AND $1::uuid = ANY(g.members) GROUP BY 1, 2, 3, b.bucket_id, g.id ORDER BY 1`, [driveId])
  return rows.map((row) => ({ blobId: row.blob_id.replaceAll('-', ''), pgId: Number(row.pg_id), index: row.index, key: row.key, spare: row.spare }))
}

/** Through the node that has the bad shard, and through another. */
async function readThem(stage: Stage, victims: readonly Victim[], holder: number, dead: number | null): Promise<void> {
  const others = stage.all.filter((i) => i !== holder && i !== dead)
  for (const [n, { key }] of victims.entries()) {
    if (key === null) continue
    for (const through of [holder, others[n % others.length]!]) {
      let learnt = false
      for (let tries = 0; tries < TRIES && !learnt; tries++) learnt = await stage.store.read(through, 'GET', key)
      if (!learnt) stage.findings.add('one bad shard makes an object unreadable', `${key} through node ${through}`)
    }
  }
}

/** A whole pass. */
async function scrubbed(node: NodeProcess): Promise<void> {
  const passes = async (): Promise<number> => (await status(node)).background.tasks.find(({ name }) => name === 'scrubbing')?.counters['passes'] ?? 0
  const before = await passes()
  await node.adminSocket('POST', '/scrub')
  await until('the drive is scrubbed', async () => (await passes()) > before, { timeoutMs: PATIENCE_MS, everyMs: 500 })
}

/** Each is whole on its drive again, or nobody asks for it there any more. */
async function untilGood(stage: Stage, drive: string, rotten: readonly RottenShard[]): Promise<void> {
  const node = stage.cluster.nodes.find(({ drives }) => drives[0] === drive)!
  let bad: RottenShard[] = []
  try {
    await until('rotten shards are made good', async () => {
      await stage.hurry()
      await runNow(node)
      const wanted = new Set((await shardsOn(stage, (await status(node)).drives[0]!.driveId!)).map(shardName))
      bad = stillRotten(drive, rotten).filter((one) => wanted.has(shardName(one)))
      return bad.length === 0
    }, { timeoutMs: PATIENCE_MS, everyMs: 3000 })
  } catch (error) {
    const names = bad.slice(0, SHOWN).map((one) => `${shardName(one)} (${one.decay})`)
    stage.findings.add('rot that was not made good', `${bad.length}: ${names.join(', ')} ${(error as Error).message.slice(0, 1000)}`)
  }
}

/** How many of them the nodes have told of in their logs. */
function reported(stage: Stage, rotten: readonly RottenShard[]): number {
  const told = new Set(stage.cluster.nodes.flatMap((node) => node.log().split('\n').flatMap((line) => {
    if (!line.includes('"damaged shard"')) return []
    const { blobId, pgId, index } = JSON.parse(line) as Shard
    return [shardName({ blobId, pgId, index })]
  })))
  return rotten.filter((one) => told.has(shardName(one))).length
}
