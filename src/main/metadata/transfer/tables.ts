/** What of both databases goes into an export, and what does not. A test holds the lists against the schemas. */
import pg from 'pg'

export const SIDES = ['regional', 'global'] as const
export type Side = (typeof SIDES)[number]

/** In the order in which they are filled: what others refer to comes first. */
export const TABLES: Record<Side, readonly string[]> = {
  regional: [
    'bucket_state', 'objects', 'object_versions', 'blobs', 'uploads', 'parts', 'manifests', 'completed_uploads', 'placement_groups',
    'deleted_groups', 'nodes', 'drives', 'gc_queue', 'repair_queue', 'condemned',
  ],
  global: ['deployment', 'encryption_keys', 'regions', 'tenants', 'apps', 'grants', 'buckets', 'change_head'],
}

/**
 * Not in an export: the migrations, which the target has of its own; the marker, whose content is in the head; the ledger
 * and the leases, which belong to connections and processes of one server; changes, which only serve the caches of
 * running nodes.
 */
export const LEFT_OUT: Record<Side, readonly string[]> = {
  regional: ['anvil_migrations', 'regional_marker', 'commit_batches', 'leases'],
  global: ['anvil_migrations', 'changes'],
}

/**
 * Sequences, and how far above the exported value they go on: ids that were given after the export may lie on drives or in
 * logs, and never come again. 64-bit ones go on at 1000 a second of the present time at least. Tenants and buckets have
 * 32-bit ids.
 */
export const SEQUENCES: Record<Side, Readonly<Record<string, { gap: number; byTime: boolean }>>> = {
  regional: { placement_group_id: { gap: 1_000_000, byTime: true }, repair_entry_id: { gap: 1_000_000, byTime: true } },
  global: { tenants_id_seq: { gap: 1000, byTime: false }, buckets_id_seq: { gap: 100_000, byTime: false } },
}

export interface TableColumns {
  table: string
  columns: string[]
}

/** The exported tables of a database with their columns, in the order of {@link TABLES}. */
export async function tableColumns(client: pg.Client, side: Side): Promise<TableColumns[]> {
  const { rows } = await client.query<TableColumns>(
    `SELECT table_name::text AS table, array_agg(column_name::text ORDER BY ordinal_position) AS columns
     FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ANY($1)
     GROUP BY 1 ORDER BY array_position($1, table_name::text)`,
    [TABLES[side]],
  )
  return rows
}

export const quoted = ({ table, columns }: TableColumns): string =>
  `${pg.escapeIdentifier(table)} (${columns.map((column) => pg.escapeIdentifier(column)).join(', ')})`
