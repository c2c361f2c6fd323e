/**
 * All that one gateway thread needs, put together: connections to both databases, placement, the object store, the S3
 * server. It runs on the main thread (ANVIL_GATEWAY_THREADS=0) or in any number of threads that share the port; each has
 * connections and caches of its own. What belongs to the process (drives, workers, background work) stays with the node.
 */
import type { ClientConfig } from 'pg'
import type { Logger } from 'pino'
import { AnvilError } from '../../shared/errors.ts'
import type { PgId } from '../../shared/ids.ts'
import type { Native } from '../../shared/native.ts'
import type { Config } from '../config/contract.ts'
import { openDirectory, type CachedDirectory } from '../directory/index.ts'
import { createGateway, type GatewayHealth } from '../gateway/index.ts'
import { openObjectMetadata } from '../metadata/index.ts'
import type { ObjectMetadata } from '../metadata/contract.ts'
import { createThreadMetrics, type MetricValues, type ThreadMetrics } from '../observability/thread-metrics.ts'
import type { ClusterEvent } from '../membership/contract.ts'
import { RunningReads } from '../objects/running-reads.ts'
import { AnvilObjectStore } from '../objects/store.ts'
import { PlacementGroups, type DriveView } from '../placement/groups.ts'
import { describe } from '../postgres/connection.ts'
import { whileAway } from '../postgres/while-away.ts'
import { createKeyring, type Keyring } from '../secrets/keyring.ts'

export interface GatewayInput {
  config: Config
  global: ClientConfig
  regional: ClientConfig
}

/** What the process tells its gateways. */
export interface GatewayHost {
  /** Name of the thread, for its metrics. */
  thread: string
  native: Native
  logger: Logger
  view(): DriveView
  health(): GatewayHealth
  ready(): GatewayHealth
  /** This thread changed something that other threads and nodes may know by heart. */
  changed(event: ClusterEvent): void
}

/** What the object data path of one thread stands on. */
export interface StorageRuntime {
  metadata: ObjectMetadata
  directory: CachedDirectory
  groups: PlacementGroups
  keys: Keyring
  metrics: ThreadMetrics
  /** Something was changed elsewhere: what is known of it by heart is forgotten, or read again. */
  hear(event: ClusterEvent): Promise<void>
  close(): Promise<void>
}

export interface GatewayRuntime {
  inUse(): PgId[]
  oldestReadMs(): number | null
  metrics(): Promise<MetricValues>
  listen(): Promise<{ port: number }>
  /** Takes no new requests; resolves when the running ones have ended or the time is over. */
  drain(ms: number): Promise<void>
}

/** Waits for a regional database that is away until `signal` ends that; the global one may stay away. */
export async function openStorageRuntime(
  input: GatewayInput, host: Pick<GatewayHost, 'native' | 'logger' | 'view' | 'thread' | 'changed'>, signal?: AbortSignal,
): Promise<StorageRuntime> {
  const { config } = input
  const { native, logger } = host
  const keys = createKeyring(config.encryptionKeys)
  const metrics = createThreadMetrics(host.thread)
  const metadata = await whileMetadataAway(input.regional, logger, signal, () => openObjectMetadata({ connection: input.regional, logger, onBatch: metrics.batch }))
  const directory = await openDirectory({ database: input.global, keyring: keys, cacheTtlMs: config.metadataCacheTtlMs, logger, onOwnChange: (change) => host.changed(change) }).catch(
    async (error: unknown) => {
      await metadata.close()
      throw error
    },
  )
  const groups = new PlacementGroups({
    metadata, native, view: () => host.view(), erasureCode: config.erasureCode, allowUnprotectedWrites: config.allowUnprotectedWrites,
    sealed: (pgId) => host.changed({ kind: 'group', pgId }),
  })
  return {
    metadata,
    directory,
    groups,
    keys,
    metrics,
    async hear(event) {
      if (event.kind !== 'group') return directory.invalidate(event)
      try {
        await groups.changed(event.pgId)
      } catch (error) {
        // members refuse an old view of it, and it is read again then
        logger.debug({ err: error, pg: event.pgId }, 'a placement group that has changed could not be read again')
      }
    },
    async close() {
      await directory.close()
      await metadata.close()
    },
  }
}

/** Runs a step of the start, again and again while the regional database is away. */
export const whileMetadataAway = <T>(regional: ClientConfig, logger: Logger, signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T> =>
  whileAway({ what: describe(regional), isAway: (error) => AnvilError.is(error, 'MetadataUnavailable'), logger, signal }, step)

export function createGatewayRuntime(config: Config, storage: StorageRuntime, host: GatewayHost): GatewayRuntime {
  const { metadata, directory, groups, keys } = storage
  const { native, logger } = host
  const runningReads = new RunningReads()
  const store = new AnvilObjectStore({ native, groups, etag: config.etag, metadata, keys, directory, runningReads })
  const gateway = createGateway({
    store, directory, logger, region: config.region, listen: config.http, tls: config.tls, s3Domain: config.s3Domain,
    health: () => host.health(), ready: () => host.ready(), onRequest: storage.metrics.request,
    intake: {
      pressure: () => native.memoryPressure(),
      take: (bytes) => native.takeMemory(bytes),
      free: (bytes) => {
        native.giveMemory(bytes)
      },
    },
  })
  return {
    inUse: () => groups.inUse,
    oldestReadMs: () => runningReads.oldestMs(),
    metrics: () => storage.metrics.values(),
    listen: () => gateway.listen(),
    drain: (ms) => gateway.drain(ms),
  }
}
