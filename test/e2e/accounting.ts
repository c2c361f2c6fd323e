/** Compares what the metadata says should lie on the drives with what does. */
import assert from 'node:assert/strict'
import type { Native } from '../../src/shared/native.ts'
import { testNative } from '../support/native.ts'
import type { NodeProcess } from '../support/node-process.ts'
import { untilStatus } from './status.ts'

/** Asks the regional database. */
export type Sql = <Row extends Record<string, unknown>>(query: string) => Promise<Row[]>

/** `drive/blob/pg/index` of every shard that a live reference asks for. */
export async function wantedShards(sql: Sql): Promise<Set<string>> {
  const rows = await sql<{ name: string }>(`
    SELECT replace(member.drive::text, '-', '') || '/' || replace(b.blob_id::text, '-', '') || '/' || b.pg_id || '/' || (member.ordinal - 1) AS name
    FROM blobs b JOIN placement_groups g ON g.id = b.pg_id, unnest(g.members) WITH ORDINALITY AS member(drive, ordinal)
    WHERE b.refs > 0`)
  return new Set(rows.map((row) => row.name))
}

/** Every blob's reference count must be what objects and parts name, or 0 with a place in the queue. */
export async function checkReferences(sql: Sql): Promise<void> {
  const wrong = await sql<{ blob_id: string; refs: number; named: string; queued: boolean }>(`
    WITH named AS (
      SELECT bucket_id, content_id AS blob_id FROM objects WHERE body = 1
      UNION ALL
      SELECT p.bucket_id, p.blob_id FROM parts p LEFT JOIN manifests m USING (bucket_id, upload_id)
      WHERE p.body = 1 AND (m.upload_id IS NULL OR m.refs > 0)
    ), counted AS (SELECT bucket_id, blob_id, count(*) AS named FROM named GROUP BY 1, 2)
    SELECT coalesce(b.blob_id, c.blob_id) AS blob_id, b.refs, coalesce(c.named, 0) AS named, q.blob_id IS NOT NULL AS queued
    FROM blobs b FULL JOIN counted c USING (bucket_id, blob_id) LEFT JOIN gc_queue q ON q.bucket_id = b.bucket_id AND q.blob_id = b.blob_id
    WHERE b.refs IS DISTINCT FROM coalesce(c.named, 0) OR (b.refs = 0) IS DISTINCT FROM (q.blob_id IS NOT NULL)`)
  assert.deepEqual(wrong, [], 'blobs whose references are not what objects and parts name')
}

/**
 * Waits until garbage and orphans are gone, stops the node, and lists its drives: every shard must be referenced and
 * every referenced shard must be there.
 */
export async function accountForEveryShard(node: NodeProcess): Promise<{ shards: number }> {
  const sql: Sql = (query) => node.sql(query)
  await checkReferences(sql)
  let wanted = new Set<string>()
  await untilStatus(node, 'garbage and orphans are collected', async ({ metadata, driveStats }) => {
    if (metadata.garbage > 0 || metadata.repairs > 0) return false
    wanted = await wantedShards(sql)
    return driveStats.reduce((sum, drive) => sum + drive.shards, 0) === wanted.size
  }, { timeoutMs: 90_000 })
  await checkReferences(sql)
  const drives = await drivesOf(sql)
  const { code } = await node.stop()
  assert.equal(code, 0, node.logTail())
  const found = await foundShards(drives)
  assert.deepEqual([...wanted].filter((name) => !found.has(name)), [], 'referenced shards that are not on their drive')
  assert.deepEqual([...found].filter((name) => !wanted.has(name)), [], 'shards on the drives that nothing references')
  return { shards: found.size }
}

type DriveRow = { drive_id: string; path: string; deployment_id: string }

/** Those that are not lost. */
export const drivesOf = (sql: Sql): Promise<DriveRow[]> => sql<DriveRow>('SELECT drive_id, path, deployment_id FROM drives, regional_marker WHERE state = 0')

/** `drive/blob/pg/index` of everything that lies on these drives, whose nodes do not run. */
export async function foundShards(drives: readonly DriveRow[]): Promise<Set<string>> {
  const found = new Set<string>()
  for (const drive of drives) {
    await withDrive(drive, async (native, driveId) => {
      let cursor: string | null = null
      do {
        const page: Awaited<ReturnType<Native['listShards']>> = await native.listShards(driveId, cursor, 1000, Date.now() + 60_000)
        for (const shard of page.shards) found.add(`${driveId}/${shard.blobId}/${shard.pgId}/${shard.index}`)
        cursor = page.cursor
      } while (cursor !== null)
    })
  }
  return found
}

/** `drive/blob/pg/index` of what lies on these drives, whose nodes do not run, and does not read back right. */
export async function damagedShards(drives: readonly DriveRow[]): Promise<string[]> {
  const damaged: string[] = []
  for (const drive of drives) {
    await withDrive(drive, async (native, driveId) => {
      let cursor: string | null = null
      do {
        const step: Awaited<ReturnType<Native['scrub']>> = await native.scrub(driveId, cursor, SCRUB_STEP_BYTES)
        damaged.push(...step.damaged.map((shard) => `${driveId}/${shard.blobId}/${shard.pgId}/${shard.index}`))
        cursor = step.cursor
      } while (cursor !== null)
    })
  }
  return damaged
}

const SCRUB_STEP_BYTES = 16 * 1024 * 1024

async function withDrive(drive: DriveRow, work: (native: Native, driveId: string) => Promise<void>): Promise<void> {
  const native = testNative()
  const driveId = drive.drive_id.replaceAll('-', '')
  await native.openDrive({ path: drive.path, deploymentId: drive.deployment_id.replaceAll('-', ''), driveId, reserveBytes: 0 })
  try {
    await work(native, driveId)
  } finally {
    await native.closeDrive(driveId)
  }
}
