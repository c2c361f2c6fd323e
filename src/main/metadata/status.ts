/** Whether the database answers, how much it holds, and whose it is. */
import { AnvilError } from '../../shared/errors.ts'
import type { DeploymentId } from '../../shared/ids.ts'
import type { ObjectMetadata } from './contract.ts'
import type { Logger } from './logger.ts'
import type { Pool } from './pool.ts'

const TABLES = { objects: 'objects', blobs: 'blobs', garbage: 'gc_queue', repairs: 'repair_queue', uploads: 'uploads', condemned: 'condemned' } as const
const COUNT_UP_TO = 1_000_000

/** What the last attempts to connect say. */
export class Health {
  #failure: string | null = null
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  noteConnect = (failure: string | null): void => {
    if (failure !== null && this.#failure === null) this.#logger.warn({ reason: failure }, 'the regional metadata database is away')
    if (failure === null && this.#failure !== null) this.#logger.info({}, 'the regional metadata database is back')
    this.#failure = failure
  }

  health = (): { state: 'ok' | 'away'; reason: string } =>
    this.#failure === null ? { state: 'ok', reason: '' } : { state: 'away', reason: this.#failure }
}

export async function counts(pool: Pool): Promise<Awaited<ReturnType<ObjectMetadata['counts']>>> {
  const columns = Object.values(TABLES).map(
    (table) => `(SELECT CASE WHEN reltuples > ${COUNT_UP_TO} THEN reltuples::int8 ELSE (SELECT count(*) FROM ${table}) END FROM pg_class WHERE oid = '${table}'::regclass)`,
  )
  const [row] = await pool.query<number[]>(`SELECT ${columns.join(', ')}`)
  return Object.fromEntries(Object.keys(TABLES).map((name, at) => [name, row![at]!])) as Awaited<ReturnType<ObjectMetadata['counts']>>
}

export async function claimDeployment(pool: Pool, deploymentId: DeploymentId, region: string): Promise<void> {
  await pool.query('UPDATE regional_marker SET deployment_id = $1, region = $2 WHERE deployment_id IS NULL', [deploymentId, region])
  const [row] = await pool.query<[string, string]>('SELECT deployment_id, region FROM regional_marker')
  if (row?.[0] !== deploymentId || row[1] !== region) {
    throw new AnvilError('InvalidRequest', `REGIONAL_DATABASE_URL: this database belongs to deployment ${row?.[0]}, region ${row?.[1]}`)
  }
}
