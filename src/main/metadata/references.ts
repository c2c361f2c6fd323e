/**
 * References of blobs and manifests (DESIGN §6, §13 rule 8). An object row holds one reference to its blob, or one to its
 * manifest whose parts hold one each to theirs. Who takes a row's content away drops the reference in the same
 * transaction, in a statement after the one that locked the row: only a snapshot taken after the lock is sure to see the
 * blob's row, which another writer may have committed a moment ago.
 */
import { BODY_BLOB, BODY_PARTS } from './records.ts'

export const NOW_MS = 'floor(extract(epoch FROM now()) * 1000)::int8'
export const CLOCK_MS = 'floor(extract(epoch FROM clock_timestamp()) * 1000)::int8'

/**
 * Drops one reference for each row of `source`, a query for (bucket_id, content_id, body); at zero the blob goes to
 * gc_queue. Rows are locked in the order of their ids, so that two writers cannot wait for each other.
 */
export const dropReferences = (source: string): string => `
  WITH lost AS MATERIALIZED (${source}),
  manifest AS (
    UPDATE manifests AS m SET refs = m.refs - l.n,
      dropped_ms = CASE WHEN m.refs = l.n THEN ${CLOCK_MS} END, dropped_by = CASE WHEN m.refs = l.n THEN pg_current_xact_id() END
    FROM (SELECT bucket_id, content_id, count(*)::int4 AS n FROM lost WHERE body = ${BODY_PARTS} GROUP BY 1, 2 ORDER BY 1, 2) AS l
    WHERE m.bucket_id = l.bucket_id AND m.upload_id = l.content_id
    RETURNING m.bucket_id, m.upload_id, m.refs
  ),
  blob AS (
    UPDATE blobs AS b SET refs = b.refs - l.n
    FROM (
      SELECT bucket_id, blob_id, count(*)::int4 AS n FROM (
        SELECT bucket_id, content_id AS blob_id FROM lost WHERE body = ${BODY_BLOB}
        UNION ALL
        SELECT p.bucket_id, p.blob_id FROM manifest AS m JOIN parts AS p USING (bucket_id, upload_id)
        WHERE m.refs = 0 AND p.body = ${BODY_BLOB}
      ) AS each GROUP BY 1, 2 ORDER BY 1, 2
    ) AS l
    WHERE b.bucket_id = l.bucket_id AND b.blob_id = l.blob_id
    RETURNING b.bucket_id, b.blob_id, b.refs
  )
  INSERT INTO gc_queue (bucket_id, blob_id, deleted_ms, dropped_by)
  SELECT bucket_id, blob_id, ${CLOCK_MS}, pg_current_xact_id() FROM blob WHERE refs = 0`

/** `dropReferences` of rows given as three arrays: bucket ids, content ids, bodies. */
export const DROP_LISTED_REFERENCES = dropReferences(
  'SELECT * FROM unnest($1::int8[], $2::uuid[], $3::int2[]) AS given (bucket_id, content_id, body)',
)

/** `missing` columns: bit i for the shard of index i. */
export const missingMask = (missing: readonly { index: number }[]): number | null =>
  missing.length === 0 ? null : missing.reduce((mask, { index }) => mask + 2 ** index, 0)

export const MAX_SHARD_INDEX = 51

/** Inserts repair entries for rows of `source`: (bucket_id, content_id, pg_id, missing). */
export const reportMissing = (source: string): string => `
  INSERT INTO repair_queue (bucket_id, blob_id, pg_id, shard_index, reason, reported_ms)
  SELECT s.bucket_id, s.content_id, s.pg_id, i, 0, ${NOW_MS}
  FROM (${source}) AS s CROSS JOIN generate_series(0, ${MAX_SHARD_INDEX}) AS i
  WHERE s.missing IS NOT NULL AND s.missing & (1::int8 << i) <> 0
  ON CONFLICT (bucket_id, blob_id, pg_id, shard_index)
  DO UPDATE SET entry_id = nextval('repair_entry_id'), reason = excluded.reason, reported_ms = excluded.reported_ms`
