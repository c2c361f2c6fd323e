/**
 * The statements of the group commit (DESIGN §9). A batch is `COPY stage …; EXECUTE admit; <its kind>; EXECUTE
 * drop_references; EXECUTE finish`: one simple query, one implicit transaction, one round trip. Each statement has a
 * snapshot of its own, which several of them rest on:
 *
 * - COPY writes, so the transaction has its id before any later snapshot (§13, rule 2).
 * - `admit` locks the bucket's and the placement groups' rows and judges the locked rows (rule 4).
 * - The statements of the kind lock the keys, in order.
 * - `drop_references` sees every blob that a locked key named (references.ts).
 * - `finish` records the batch and what became of exceptional rows; its answer is the batch's answer.
 */
import { dropReferences, NOW_MS, reportMissing } from './references.ts'
import { BODY_BLOB, BODY_INLINE } from './records.ts'

export type ProgramName = 'put' | 'create' | 'replace' | 'delete'

/** Why a row of a batch is out of the ordinary. */
export const OUTCOME = {
  NO_SUCH_BUCKET: 1,
  GROUP_CLOSED: 2,
  CONDEMNED: 3,
  PRECONDITION_FAILED: 4,
  ABSENT: 5,
  /** Not a failure: `vals` has the row's modified_ms, which is not the batch's. */
  MODIFIED: 6,
} as const

/** Fields of a staged row, in COPY's order. */
export const STAGE_FIELDS = 17

// Rows of up to 8 KiB stay whole in the temporary table: nothing is compressed or moved out of line on the way.
const TABLES = `
  SET temp_buffers = '32MB'; SET work_mem = '64MB'; SET plan_cache_mode = force_generic_plan;
  CREATE TEMPORARY TABLE stage (
    ord int4, bucket_id int8, key text COLLATE "C", size int8, content_id uuid, pg_id int8, stripe_bytes int4, part_count int4,
    body int2, encrypted bool, etag text, storage_class text, checksum text, attributes text STORAGE MAIN, data bytea STORAGE MAIN,
    missing int8, condition text
  ) WITH (toast_tuple_target = 8160, autovacuum_enabled = off);
  CREATE TEMPORARY TABLE outcome (ord int4, code int2, val int8);
  CREATE TEMPORARY TABLE dropped (bucket_id int8, content_id uuid, body int2);`

const COLUMNS =
  'bucket_id, size, modified_ms, content_id, pg_id, stripe_bytes, part_count, body, encrypted, key, etag, storage_class, checksum, attributes, data'
const STAGED = COLUMNS.replace('modified_ms', NOW_MS)
const replaced = (from: string): string =>
  COLUMNS.split(', ')
    .filter((column) => column !== 'bucket_id' && column !== 'key')
    .map((column) => (column === 'modified_ms' ? `modified_ms = greatest(o.modified_ms, ${from === 's' ? NOW_MS : 'excluded.modified_ms'})` : `${column} = ${from}.${column}`))
    .join(', ')

const newBlobs = (source: string): string => `
  INSERT INTO blobs (bucket_id, blob_id, pg_id, size, stripe_bytes, encrypted, refs)
  SELECT bucket_id, content_id, pg_id, size, stripe_bytes, encrypted, 1 FROM ${source} WHERE body = ${BODY_BLOB}
  ORDER BY bucket_id, content_id`
const missing = (source: string): string => reportMissing(`SELECT bucket_id, content_id, pg_id, missing FROM ${source} WHERE body = ${BODY_BLOB}`)

const VERDICT = `CASE
  WHEN s.bucket_id NOT IN (SELECT bucket_id FROM bucket WHERE NOT deleting) THEN ${OUTCOME.NO_SUCH_BUCKET}
  WHEN s.body <> ${BODY_BLOB} THEN NULL
  WHEN s.pg_id NOT IN (SELECT id FROM pg WHERE state < 2) THEN ${OUTCOME.GROUP_CLOSED}
  WHEN EXISTS (SELECT FROM condemned AS c WHERE c.bucket_id = s.bucket_id AND c.blob_id = s.content_id AND c.pg_id = s.pg_id)
    THEN ${OUTCOME.CONDEMNED}
  END`

/** $1 bucket ids, $2 ids of placement groups: those that the batch names. */
const ADMIT = `
  WITH bucket AS MATERIALIZED (
    SELECT bucket_id, deleting FROM bucket_state WHERE bucket_id = ANY($1) ORDER BY bucket_id FOR SHARE
  ),
  pg AS MATERIALIZED (SELECT id, state FROM placement_groups WHERE id = ANY($2) ORDER BY id FOR SHARE),
  refused AS (
    DELETE FROM stage AS s WHERE ${VERDICT} IS NOT NULL RETURNING s.ord, ${VERDICT} AS code
  )
  INSERT INTO outcome (ord, code) SELECT ord, code FROM refused`

/** Writes every row; the last writer of a key wins. */
const PUT = `
  WITH input AS MATERIALIZED (DELETE FROM stage RETURNING *),
  put AS (
    INSERT INTO objects AS o (${COLUMNS}) SELECT ${STAGED} FROM input ORDER BY bucket_id, key
    ON CONFLICT (bucket_id, key) DO UPDATE SET ${replaced('excluded')}
    RETURNING new.bucket_id, new.key, new.modified_ms, new.content_id, old.content_id AS old_content, old.body AS old_body
  ),
  blob AS (${newBlobs('input')}),
  missing AS (${missing('input')}),
  late AS (
    INSERT INTO outcome (ord, code, val) SELECT i.ord, ${OUTCOME.MODIFIED}, p.modified_ms
    FROM (SELECT * FROM put WHERE modified_ms <> ${NOW_MS}) AS p JOIN input AS i USING (bucket_id, key)
  )
  INSERT INTO dropped SELECT bucket_id, old_content, old_body FROM put
  WHERE old_body <> ${BODY_INLINE} AND old_content <> content_id`

/** Writes the rows whose keys are absent (If-None-Match: *). */
const CREATE = `
  INSERT INTO objects (${COLUMNS}) SELECT ${STAGED} FROM stage ORDER BY bucket_id, key ON CONFLICT (bucket_id, key) DO NOTHING`
/** A row that this transaction has written carries its id. */
const CREATED = `
  WITH input AS MATERIALIZED (DELETE FROM stage RETURNING *),
  won AS MATERIALIZED (
    SELECT i.* FROM input AS i JOIN objects AS o USING (bucket_id, key) WHERE o.xmin = pg_current_xact_id()::xid
  ),
  blob AS (${newBlobs('won')}),
  missing AS (${missing('won')})
  INSERT INTO outcome (ord, code) SELECT ord, ${OUTCOME.PRECONDITION_FAILED} FROM input WHERE ord NOT IN (SELECT ord FROM won)`

/** Locks the keys that exist, in order; the others leave the batch. */
const LOCK = `
  WITH locked AS MATERIALIZED (
    SELECT s.ord FROM stage AS s JOIN objects AS o USING (bucket_id, key) ORDER BY o.bucket_id, o.key FOR UPDATE OF o
  ),
  absent AS (DELETE FROM stage WHERE ord NOT IN (SELECT ord FROM locked) RETURNING ord)
  INSERT INTO outcome (ord, code) SELECT ord, ${OUTCOME.ABSENT} FROM absent`

const MATCHES = `o.bucket_id = s.bucket_id AND o.key = s.key AND (s.condition IS NULL OR s.condition = '*' OR s.condition = o.etag)`

/** Writes the rows whose locked object has the ETag asked for (If-Match). */
const REPLACE = `
  WITH input AS (DELETE FROM stage RETURNING ord),
  won AS (
    UPDATE objects AS o SET ${replaced('s')} FROM stage AS s WHERE ${MATCHES}
    RETURNING s.*, new.modified_ms, old.content_id AS old_content, old.body AS old_body
  ),
  blob AS (${newBlobs('won')}),
  missing AS (${missing('won')}),
  lost AS (
    INSERT INTO dropped SELECT bucket_id, old_content, old_body FROM won WHERE old_body <> ${BODY_INLINE} AND old_content <> content_id
  )
  INSERT INTO outcome (ord, code, val)
  SELECT ord, ${OUTCOME.MODIFIED}, modified_ms FROM won WHERE modified_ms <> ${NOW_MS}
  UNION ALL SELECT ord, ${OUTCOME.PRECONDITION_FAILED}, NULL FROM input WHERE ord NOT IN (SELECT ord FROM won)`

const DELETE = `
  WITH input AS (DELETE FROM stage RETURNING ord),
  won AS (DELETE FROM objects AS o USING stage AS s WHERE ${MATCHES} RETURNING s.ord, o.bucket_id, o.content_id, o.body),
  lost AS (INSERT INTO dropped SELECT bucket_id, content_id, body FROM won WHERE body <> ${BODY_INLINE})
  INSERT INTO outcome (ord, code) SELECT ord, ${OUTCOME.PRECONDITION_FAILED} FROM input WHERE ord NOT IN (SELECT ord FROM won)`

/** $1 batch id, $2 acknowledged ids, $3 pid, $4 start of the server process. */
const FINISH = `
  WITH odd AS (DELETE FROM outcome RETURNING *),
  known AS (DELETE FROM commit_batches WHERE batch_id = ANY($2))
  INSERT INTO commit_batches (batch_id, created_ms, modified_ms, pid, backend_start_us, committed, ords, codes, vals)
  SELECT $1, ${NOW_MS}, ${NOW_MS}, $3, $4, true, array_agg(ord), array_agg(code), array_agg(coalesce(val, 0)) FROM odd
  RETURNING modified_ms, ords, codes, vals`

const PROGRAMS: Record<ProgramName, string[]> = {
  put: ['put'],
  create: ['create_absent', 'created'],
  replace: ['lock_keys', 'replace_matching'],
  delete: ['lock_keys', 'delete_matching'],
}

/** For a new connection of the writer. */
export const WRITER_SETUP = `${TABLES}
  PREPARE admit (int8[], int8[]) AS ${ADMIT};
  PREPARE put AS ${PUT};
  PREPARE create_absent AS ${CREATE};
  PREPARE created AS ${CREATED};
  PREPARE lock_keys AS ${LOCK};
  PREPARE replace_matching AS ${REPLACE};
  PREPARE delete_matching AS ${DELETE};
  PREPARE drop_references AS ${dropReferences('DELETE FROM dropped RETURNING bucket_id, content_id, body')};
  PREPARE finish (uuid, uuid[], int4, int8) AS ${FINISH};`

export interface BatchCall {
  program: ProgramName
  batchId: string
  acknowledged: string[]
  buckets: Iterable<number>
  groups: Iterable<number>
  backend: { pid: number; startUs: number }
  /** Empty the temporary tables first: their dead rows cost more than the merge in time. */
  truncate: boolean
}

/** The text of one batch. Everything in it is an integer or a uuid. */
export function batchText(call: BatchCall): string {
  const { program, batchId, acknowledged, buckets, groups, backend } = call
  return [
    ...(call.truncate ? ['TRUNCATE stage, outcome, dropped'] : []),
    'COPY stage FROM STDIN (FORMAT binary)',
    `EXECUTE admit('{${[...buckets].join()}}', '{${[...groups].join()}}')`,
    ...PROGRAMS[program].map((name) => `EXECUTE ${name}`),
    ...(program === 'create' ? [] : ['EXECUTE drop_references']),
    `EXECUTE finish('${batchId}', '{${acknowledged.join()}}', ${backend.pid}, ${backend.startUs})`,
  ].join('; ')
}
