/** When nothing goes wrong any more: everything that was acknowledged is there, whole, and nothing else. */
import { until } from '../support/until.ts'
import { checkReferences, damagedShards, drivesOf, foundShards, type Sql, wantedShards } from '../e2e/accounting.ts'
import { status } from '../e2e/status.ts'
import { BUCKET, type CheckedStore } from './checked.ts'
import { list } from './listing.ts'
import type { Stage } from './stage.ts'

const QUIET_MS = 400_000
const READERS = 6
const SHOWN = 5
/** Closed groups that were emptied stay so long at most: orphan age, the time to find orphans, and some for the work. */
const EMPTY_GROUP_MS = 900_000
const MAX_BATCH_ROWS = 20_000

export async function checkEnding(stage: Stage, store: CheckedStore): Promise<void> {
  const { findings } = stage
  const step = async (what: string, work: () => Promise<string | void>): Promise<void> => {
    const began = performance.now()
    try {
      const said = await work()
      console.log(`  ${what}${typeof said === 'string' ? `: ${said}` : ''} (${((performance.now() - began) / 1000).toFixed(1)} s)`)
    } catch (error) {
      findings.add(`the end: ${what}`, (error as Error).message.slice(0, 6000))
    }
  }
  const sql: Sql = (query) => stage.sql(query)
  await step('full redundancy again', () => stage.untilWhole(QUIET_MS))
  await step('uploads that were left behind are aborted', () => abortUploads(store))
  await step('every acknowledged object is read through every node', () => readEverything(stage, store))
  await step('every listing tells the same', async () => {
    for (const node of stage.all) for (const prefix of ['hot/', 'once/']) await list(store, node, prefix, 1000)
  })
  await step('references are counted right', () => checkReferences(sql))
  await step('garbage and orphans are gone', () => untilClean(stage, sql))
  await step('rows are bounded', async () => {
    await until('no closed placement group is there without a blob', async () => {
      await stage.hurry()
      return (await stage.count('placement_groups g WHERE state = 2 AND (bytes = 0 OR sealed_ms < extract(epoch FROM now()) * 1000 - $1) AND NOT EXISTS (SELECT FROM blobs b WHERE b.pg_id = g.id)', [EMPTY_GROUP_MS])) === 0
    }, { timeoutMs: QUIET_MS, everyMs: 1500 })
    const rows = await tableRows(stage)
    if (rows['commit_batches']! > MAX_BATCH_ROWS) throw new Error(`${rows['commit_batches']} rows of commit batches`)
    return JSON.stringify(rows)
  })
  await step('every shard is where the rows say, and no other', async () => {
    // at once: of those that stop one after the other the last would take over what the first held; and what was removed must not come back by recovery
    await Promise.all(stage.all.map((i) => stage.kill(i)))
    const wanted = await wantedShards(sql)
    const drives = await drivesOf(sql)
    const found = await foundShards(drives)
    const missing = [...wanted].filter((name) => !found.has(name))
    const others = [...found].filter((name) => !wanted.has(name))
    if (missing.length > 0) findings.add('shards that are not on their drive', `${missing.length}: ${missing.slice(0, SHOWN).join(', ')}`)
    if (others.length > 0) findings.add('shards that nothing references', `${others.length}: ${others.slice(0, SHOWN).join(', ')}`)
    return `${found.size} shards`
  })
  await step('every shard reads back whole', async () => {
    const damaged = await damagedShards(await drivesOf(sql))
    if (damaged.length > 0) findings.add('shards that do not read back', `${damaged.length}: ${damaged.slice(0, SHOWN).join(', ')}`)
  })
}

async function readEverything(stage: Stage, store: CheckedStore): Promise<string> {
  const waiting = stage.all.flatMap((node) => [...store.histories.keys()].map((key) => ({ node, key })))
  let read = 0
  await Promise.all(Array.from({ length: READERS }, async () => {
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
      if (await store.read(one.node, 'GET', one.key)) read++
      else stage.findings.add('not readable at the end', `${one.key} through node ${one.node}`)
    }
  }))
  return `${store.histories.size} keys, ${read} reads`
}

async function abortUploads(store: CheckedStore): Promise<string> {
  const { body } = await store.ask(0, 'ListMultipartUploads', { method: 'GET', path: `/${BUCKET}`, query: { uploads: '', 'max-uploads': '1000' } })
  const uploads = [...body.toString().matchAll(/<Upload>.*?<Key>([^<]+)<\/Key>.*?<UploadId>([^<]+)<\/UploadId>/gs)]
  for (const [, key, uploadId] of uploads) {
    await store.ask(0, 'AbortMultipartUpload', { method: 'DELETE', path: store.object(key!), query: { uploadId: uploadId! } })
  }
  return `${uploads.length}`
}

async function untilClean(stage: Stage, sql: Sql): Promise<void> {
  let last: unknown
  await until('nothing is left to be removed', async () => {
    await stage.hurry()
    const rows = await tableRows(stage)
    const found = (await Promise.all(stage.cluster.nodes.map(status))).flatMap(({ driveStats }) => driveStats).reduce((sum, { shards }) => sum + shards, 0)
    const wanted = (await wantedShards(sql)).size
    last = { garbage: rows['gc_queue'], repairs: rows['repair_queue'], found, wanted }
    return rows['gc_queue'] === 0 && rows['repair_queue'] === 0 && found === wanted
  }, { timeoutMs: QUIET_MS, everyMs: 1500, detail: () => JSON.stringify(last) })
}

async function tableRows(stage: Stage): Promise<Record<string, number>> {
  const tables = ['objects', 'blobs', 'placement_groups', 'gc_queue', 'repair_queue', 'condemned', 'commit_batches', 'leases', 'uploads', 'parts']
  return Object.fromEntries(await Promise.all(tables.map(async (table) => [table, await stage.count(table)] as const)))
}
