/** postgresql.conf, pg_hba.conf and pg_ident.conf of the embedded Postgres. Written at each start; an operator's own settings go by ALTER SYSTEM. */
import { release } from 'node:os'
import { GIB, MIB } from '../../shared/limits.ts'

export const DATABASE_USER = 'anvil'

/** @param memoryBytes memory of this host */
export function postgresqlConf(memoryBytes: number): string {
  const sharedBuffersMib = memoryBytes >= 8 * GIB ? 256 : 128
  const settings: Record<string, string | number> = {
    // One host, one user: no TCP at all.
    listen_addresses: "''",
    unix_socket_permissions: '0700',
    max_connections: 120,
    // Acknowledged is durable.
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    // With random keys full-page images are most of the WAL: checkpoints lie far apart. This build has no lz4, and pglz costs more than it saves.
    max_wal_size: '4GB',
    min_wal_size: '256MB',
    checkpoint_timeout: '15min',
    checkpoint_completion_target: 0.9,
    wal_compression: 'off',
    wal_level: 'replica',
    max_wal_senders: 0,
    commit_delay: 0,
    shared_buffers: `${sharedBuffersMib}MB`,
    effective_cache_size: `${Math.max(sharedBuffersMib, Math.floor(memoryBytes / 4 / MIB))}MB`,
    work_mem: '8MB',
    maintenance_work_mem: '64MB',
    // Short statements on few cores: a parallel plan or a compiled one costs more than it brings, and containers have little /dev/shm.
    max_parallel_workers_per_gather: 0,
    max_parallel_maintenance_workers: 0,
    jit: 'off',
    random_page_cost: 1.1,
    // Queues and HOT updates leave dead rows quickly.
    autovacuum_naptime: '15s',
    // The log is a file that is turned over at each start, so it holds what an operator must know and no more.
    log_destination: "'stderr'",
    logging_collector: 'off',
    log_checkpoints: 'off',
    log_line_prefix: "'%m [%p] '",
    log_timezone: "'UTC'",
    timezone: "'UTC'",
    lc_messages: "'C'",
    datestyle: "'iso, ymd'",
    restart_after_crash: 'on',
    // After a crash all files are synced first: one call instead of one for each of a thousand files.
    recovery_init_sync_method: reportsSyncErrors(release()) ? 'syncfs' : 'fsync',
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  return ['# Written by anvil at each start.', ...lines, ''].join('\n')
}

/** Since Linux 5.8 syncfs(2) reports the errors of the files that it writes. */
function reportsSyncErrors(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10))
  return major > 5 || (major === 5 && minor >= 8)
}

/** Unix socket only, and only accounts of the map: no password that could leak. */
export const pgHbaConf = (): string => '# Written by anvil at each start.\nlocal all anvil peer map=anvil\n'

export const pgIdentConf = (accounts: readonly string[]): string =>
  ['# Written by anvil at each start.', ...accounts.map((name) => `anvil "${name.replaceAll('"', '""')}" ${DATABASE_USER}`), ''].join('\n')
