/** Tells whether something that an export holds has changed since an earlier look, without reading it. */
import pg from 'pg'
import type { Databases } from './export.ts'

/**
 * Tables whose every change matters. Not those that background work fills (`blobs` follows the tables here; what a
 * re-encoding leaves behind comes to `condemned`), nor those that an export itself changes.
 */
const WATCHED = ['bucket_state', 'objects', 'object_versions', 'uploads', 'parts', 'drives', 'condemned']

/**
 * Equal only if nothing was committed in between. It may also differ without a change: the server counts a transaction
 * some seconds after its end, and begins anew after a crash.
 */
export async function changeMark({ regional, global }: Databases): Promise<string> {
  const [{ mark: first }] = await rows(regional, `
    SELECT (SELECT sum(generation) FROM placement_groups) || ' ' || (SELECT coalesce(sum(last_id - first_id + 1), 0) FROM deleted_groups) || ' ' ||
      string_agg(relname || ' ' || n_tup_ins || ' ' || CASE WHEN relname = 'condemned' THEN 0 ELSE n_tup_upd + n_tup_del END, ' ' ORDER BY relname) AS mark
    FROM pg_stat_user_tables WHERE relname = ANY($1)`, [WATCHED])
  const [{ mark: second }] = await rows(global, `
    SELECT number || ' ' || (SELECT count(*) FROM tenants) || ' ' || (SELECT string_agg(regions::text, ' ' ORDER BY name) FROM regions) || ' '
      || (SELECT count(*) FROM encryption_keys) AS mark FROM change_head`, [])
  return `${first} ${second}`
}

async function rows(config: pg.ClientConfig, text: string, values: unknown[]): Promise<[{ mark: string | null }]> {
  const client = new pg.Client(config)
  client.on('error', () => {}) // the query under way fails with the same error
  await client.connect()
  try {
    return (await client.query<{ mark: string | null }>(text, values)).rows as [{ mark: string | null }]
  } finally {
    await client.end()
  }
}
