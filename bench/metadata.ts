/**
 * The regional metadata alone, on a Postgres of its own with fsync on: rows a second of the group commit by batch size, of
 * overwrites, of coalesced reads, of listing. `node bench/metadata.ts [rows]`
 */
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { openObjectMetadata } from '../src/main/metadata/index.ts'
import type { BucketId } from '../src/shared/ids.ts'
import { blobRecord, drives, inlineRecord, silent } from '../test/support/metadata.ts'
import { migrate, startPostgres } from '../test/support/postgres.ts'

const rows = Number(process.argv[2] ?? 60_000)
const postgres = await startPostgres({ settings: { fsync: 'on', checkpoint_timeout: '15min', max_wal_size: '8GB', shared_buffers: '256MB' } })
await migrate(postgres.config, 'regional')
const bucket = 1 as BucketId

/** Runs `work` n times with `concurrency` under way. */
async function drive(n: number, concurrency: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (next < n) await work(next++)
    }),
  )
}

/** CPU seconds of all server processes of this Postgres. */
async function serverCpu(): Promise<number> {
  const client = new pg.Client(postgres.config)
  await client.connect()
  const { rows: found } = await client.query<{ pid: number }>('SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()')
  await client.end()
  let ticks = 0
  for (const { pid } of found) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
  }
  return ticks / 100
}

async function measure(name: string, n: number, concurrency: number, work: (i: number) => Promise<unknown>): Promise<void> {
  const server = await serverCpu()
  const own = process.cpuUsage()
  const start = performance.now()
  await drive(n, concurrency, work)
  const seconds = (performance.now() - start) / 1000
  const used = process.cpuUsage(own)
  const us = (cpuSeconds: number): string => `${((cpuSeconds * 1e6) / n).toFixed(1)} µs`
  console.log(
    `${name.padEnd(34)} ${String(Math.round(n / seconds)).padStart(7)} /s   Postgres ${us((await serverCpu()) - server).padStart(9)}   Node ${us((used.user + used.system) / 1e6).padStart(9)}`,
  )
}

for (const writers of [1, 2]) {
  const metadata = await openObjectMetadata({ connection: postgres.config, logger: silent, writers, waitMs: 60_000, answerTimeoutMs: 30_000 })
  await metadata.createBucketState(bucket)
  const groups = await Promise.all(Array.from({ length: 256 }, () => metadata.openPlacementGroup(4, 2, drives(6))))
  const group = (i: number) => groups[i % groups.length]!.id
  const run = Math.random().toString(36).slice(2, 8)
  for (const concurrency of [1, 32, 100, 4000]) {
    const n = Math.min(rows, concurrency === 1 ? 2000 : concurrency * 600)
    await measure(`${writers} writer(s), new, ${concurrency} at once`, n, concurrency, (i) =>
      metadata.put(blobRecord(bucket, `${run}/${concurrency}/${(i * 7919) % n}`, group(i)), {}, []),
    )
  }
  await measure(`${writers} writer(s), overwrites, 100 at once`, rows / 2, 100, (i) => metadata.put(blobRecord(bucket, `${run}/4000/${(i * 104729) % rows}`, group(i)), {}, []))
  await measure(`${writers} writer(s), inline 1 KiB, 100 at once`, rows / 2, 100, (i) => metadata.put(inlineRecord(bucket, `${run}/inline/${i}`, 'x'.repeat(1024)), {}, []))
  await measure(`${writers} writer(s), inline 4 KiB, 100 at once`, rows / 4, 100, (i) => metadata.put(inlineRecord(bucket, `${run}/inline4/${i}`, 'x'.repeat(4096)), {}, []))
  await measure(`${writers} writer(s), deletes, 100 at once`, rows / 4, 100, (i) => metadata.delete(bucket, `${run}/inline4/${i}`, {}))
  if (writers === 2) {
    for (const concurrency of [1, 100, 1000]) {
      await measure(`get, ${concurrency} at once`, concurrency === 1 ? 3000 : rows, concurrency, (i) => metadata.get(bucket, `${run}/4000/${(i * 104729) % rows}`))
    }
    await measure('list 1000 keys', 100, 1, () => metadata.list({ bucketId: bucket, prefix: `${run}/4000/`, delimiter: '/', after: '', limit: 1000 }))
    await measure('list 4 prefixes over all', 300, 1, () => metadata.list({ bucketId: bucket, prefix: `${run}/`, delimiter: '/', after: '', limit: 1000 }))
  }
  await metadata.close()
}
await postgres.stop()
