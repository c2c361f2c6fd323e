/**
 * The composition root: starts one node, keeps it running, ends it in order. The one file that knows every room.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { loadNative } from '../shared/load-native.ts'
import { DRAIN_MS } from '../shared/limits.ts'
import type { Native } from '../shared/native.ts'
import { openAdminSocket } from './admin-socket.ts'
import type { Config } from './config/contract.ts'
import { prepareDatabases, type PreparedDatabases } from './directory/index.ts'
import { LocalDrives } from './drives/local-drives.ts'
import { anyPort, assertPortFree } from './gateway/index.ts'
import { mainThreadGateways, threadGateways, type Gateways, type ThreadListeners } from './gateways/gateways.ts'
import type { NodeView } from './gateways/messages.ts'
import { clusterStatusSource } from './cluster-status.ts'
import type { StatusSource } from './grpc/cluster-service.ts'
import { startGrpcServer, type GrpcServer } from './grpc/server.ts'
import { embeddedExports } from './embedded-exports.ts'
import { finishRestore } from './embedded-restore.ts'
import { createGatewayRuntime, openStorageRuntime, whileMetadataAway, type GatewayHost, type StorageRuntime } from './gateways/runtime.ts'
import { nodeHealth, nodeReadiness, type Health, type HealthInput } from './health.ts'
import { checkHost } from './host-checks.ts'
import type { ClusterDrives } from './cluster/cluster-drives.ts'
import { Redundancy } from './cluster/redundancy.ts'
import type { ClusterEvent, Membership } from './membership/contract.ts'
import { startMaintenance, type Maintenance } from './maintenance/maintenance.ts'
import type { MetadataExports } from './maintenance/metadata-exports.ts'
import { loadIdentity } from './node-id.ts'
import { NodeLease } from './node-lease.ts'
import { nodeMetrics } from './node-metrics.ts'
import type { Logger } from './observability/logger.ts'
import { startMetricsServer, type MetricsServer } from './observability/metrics-server.ts'
import { lossWarnings } from './placement/loss-risk.ts'
import { joinPeers, openPeerPort, type Peers } from './peers.ts'
import { StartError } from './start-error.ts'
import { VERSION } from './version.ts'
import { startWorkerPool } from './worker-pool.ts'

export interface NodeOptions {
  initCluster: boolean
  logger: Logger
  /** Ends the waiting for databases during the start. */
  signal?: AbortSignal
}

export interface RunningNode {
  port: number
  databases: PreparedDatabases
  /** Resolves with the exit code when the node has ended by itself (not by `stop`). */
  failed: Promise<Error>
  /** SIGTERM: no new requests, running ones end up to a limit, then everything that was started is stopped. */
  stop(): Promise<void>
}

export { StartError } from './start-error.ts'

/** How often health is looked at: for gateways in other threads, and for new warnings. */
const VIEW_MS = 500

/** @throws StartError, or what a part of the node throws; everything started so far is stopped then */
export async function startNode(config: Config, options: NodeOptions): Promise<RunningNode> {
  const { logger } = options
  // what has been started, to be stopped in the reverse order
  const started: { name: string; stop: () => Promise<unknown> }[] = []
  const began = <T>(name: string, part: T, stop: (part: T) => Promise<unknown>): T => {
    started.push({ name, stop: () => stop(part) })
    return part
  }
  const stopAll = async (): Promise<void> => {
    for (let part = started.pop(); part !== undefined; part = started.pop()) {
      try {
        logger.debug({ part: part.name }, 'stopping')
        await part.stop()
      } catch (error) {
        logger.error({ err: error, part: part.name }, `${part.name} did not stop cleanly`)
      }
    }
  }
  try {
    return await start(config, options, began, stopAll)
  } catch (error) {
    await stopAll()
    throw error
  }
}

type Began = <T>(name: string, part: T, stop: (part: T) => Promise<unknown>) => T

async function start(config: Config, options: NodeOptions, began: Began, stopAll: () => Promise<void>): Promise<RunningNode> {
  const { logger } = options
  mkdirSync(config.stateDir, { recursive: true })
  const findings = checkHost(config.stateDir)
  for (const warning of findings.warnings) logger.warn(warning)
  if (findings.mistakes.length > 0) throw new StartError(findings.mistakes)

  const identity = await loadIdentity(config.stateDir)
  const { nodeId } = identity
  const processId = randomUUID()
  let fail: (error: Error) => void = () => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  const native = openNative(config, logger)
  const databases = began('databases', await prepareDatabases(config, options), (part) => part.stop())
  let peers: Peers | null = null
  let gateways: Gateways | null = null
  const view = () => peers?.drives.view() ?? { version: 0, drives: [], everTwoDrives: false }
  const hear = (event: ClusterEvent): void => {
    void storage.hear(event)
    gateways?.hear(event)
  }
  const changed = (event: ClusterEvent): void => {
    peers?.membership.broadcast(event)
    hear(event)
  }
  const storageInput = { config, global: databases.global, regional: databases.regional }
  const storage = began('storage', await openStorageRuntime(storageInput, { thread: 'main', native, logger, view, changed }, options.signal), (part) => part.close())
  // a database that goes away while the node starts is waited for, as before the start
  const waiting = <T>(step: () => Promise<T>): Promise<T> => whileMetadataAway(databases.regional, logger, options.signal, step)
  await waiting(() => storage.metadata.claimDeployment(databases.deploymentId, config.region))
  const workers = began('worker pool', startWorkerPool(native, config.workers, logger), (part) => part.close())

  const drives = began('drives', new LocalDrives({
    native, metadata: storage.metadata, logger, stateDir: config.stateDir, paths: config.dataDirs, deploymentId: databases.deploymentId, nodeId,
  }), (part) => part.stop())
  await waiting(() => drives.start())

  const peerOptions = { config, identity, processId, deploymentId: databases.deploymentId, plane: native, logger }
  const peerPort = began('peer port', await openPeerPort(peerOptions), (part) => part.close())
  const lease = began('lease', new NodeLease({
    metadata: storage.metadata,
    logger,
    stateDir: config.stateDir,
    node: { nodeId, addrs: peerPort.publicAddrs, grpcAddr: config.publicGrpcAddr, zone: config.zone, version: VERSION },
    processId,
    report: async () => gateways?.report() ?? { oldestReadMs: null, inUse: new Set() },
    wanted: () => storage.groups.wanted(),
    onLost: () => fail(new Error('another process runs with the identity of this node: this one ends')),
  }), (part) => part.stop())
  await waiting(() => lease.start())
  if (databases.embedded) await finishCutRestore({ native, databases, drives: drives.readable, warn: (line) => logger.warn(line) }, logger)
  const joined = peers = began('peers', await joinPeers({ ...peerOptions, port: peerPort, local: drives, metadata: storage.metadata }), (part) => part.close())
  const { membership, transport, drives: cluster } = joined
  membership.on('event', hear)

  const redundancy = began('redundancy', new Redundancy({ metadata: storage.metadata, readable: () => cluster.reachable, logger }), (part) => part.stop())
  let draining = false
  let maintenance: Maintenance | null = null
  const health = new HealthReport(() => ({
    version: VERSION, draining, metadata: storage.metadata.health(), code: storage.groups.code, drives: drives.all,
    readable: cluster.reachable.length > 0,
    absentMembers: absentMembers(joined),
    lossWarnings: [
      ...lossWarnings({
        plan: storage.groups.code, placeable: view().drives, risk: redundancy.risk, nameOf: nodeName(membership),
        refusesUnprotected: view().everTwoDrives && !config.allowUnprotectedWrites,
      }),
      ...(maintenance?.warnings() ?? []),
    ],
  }), logger)
  const host: GatewayHost = { thread: 'main', native, logger, view, changed, health: () => health.live(), ready: () => health.readiness() }
  const http = config.gatewayThreads > 0 && config.http.port === 0 ? { ...config.http, port: await anyPort(config.http.host) } : config.http
  const serving = gateways = began('gateways', await openGateways({ ...config, http }, databases, storage, host, { onFailure: fail, onChange: changed }, options.signal), async (part) => {
    draining = true
    await part.drain(DRAIN_MS)
    await part.close()
  })
  began('gateway view', watchView(serving, [drives, cluster], () => {
    health.warn()
    return { drives: view(), health: health.live(), ready: health.readiness() }
  }), (part) => part.stop())

  const exports = embeddedExports({ native, databases, storage, logger, drives: () => drives.readable, periodMs: config.metadataExportPeriodMs })
  const background = maintenance = began('background work', startMaintenance({
    native, metadata: storage.metadata, directory: storage.directory, groups: storage.groups, logger,
    cluster: {
      processId, self: nodeId, local: () => drives.readable, reachable: () => cluster.reachable.map((drive) => drive.driveId), placeable: () => view().drives,
      freeBytes: (driveId) => cluster.reachable.find((drive) => drive.driveId === driveId)?.freeBytes ?? 0,
      nodes: () => membership.members.filter((member) => member.state === 'alive' && cluster.answers(member.nodeId)).map((member) => member.nodeId),
      isGone: (id) => ['dead', 'left', undefined].includes(membership.members.find((member) => member.nodeId === id)?.state),
    },
    inUse: async () => (await serving.report()).inUse,
    publishNow: () => lease.renewNow(),
    groupSealed: () => serving.resetSlots(),
    groupChanged: (pgId) => changed({ kind: 'group', pgId }),
    exports,
    periods: { scrubMs: config.scrubPeriodMs, orphanAgeMs: config.orphanAgeMs, repairDelayMs: config.repairDelayMs },
  }), (part) => part.stop())
  drives.on('online', () => background.driveOnline())

  const status = clusterStatusSource({
    deploymentId: databases.deploymentId, region: config.region, nodeId, embedded: config.globalDatabaseUrl === null,
    metadata: storage.metadata, globalHealth: () => storage.directory.health(),
    members: () => membership.members, problems: () => membership.problems,
    placeable: () => view().drives, code: () => storage.groups.code, risk: () => redundancy.risk, warnings: () => health.body.warnings,
  })
  const grpc = began('gRPC', await openGrpc(config, storage, status, logger), async (part) => {
    part.setServing(false)
    await part.close()
  })

  const metrics = nodeMetrics({
    version: VERSION, engine: () => native.stats(), drives: () => native.driveStats(), peers: () => native.planeStats(), members: () => membership.members,
    control: () => ({ transport: transport.stats(), health: membership.health }),
    // the runtime of the main thread is the gateway's where there are no gateway threads
    threads: async () => (config.gatewayThreads === 0 ? serving.metrics() : [...(await serving.metrics()), await storage.metrics.values()]),
    background: () => background.status(), poolQueue: () => workers.pool.queueSize,
    databases: () => ({ global: storage.directory.health().state === 'ok', regional: storage.metadata.health().state === 'ok' }),
  })
  began('metrics', await openMetrics(config, metrics, logger), (part) => part.close())

  began('admin socket', await openAdminSocket(config.stateDir, adminRoutes(native, drives, storage, background, health, joined, { embedded: databases.embedded, exports }, changed), logger), (part) => part.close())
  await requireFreePort(http)
  await waiting(() => joined.found())
  const { port } = await serving.listen()
  // requests end before what serves them: drained first, although the gateways were made before other parts
  const stop = async (): Promise<void> => {
    draining = true
    grpc.setServing(false)
    // from the goodbye on the others write nothing new to these drives; the shard plane serves them until its end
    await Promise.all([joined.leave(), serving.drain(DRAIN_MS)])
    await stopAll()
  }
  return { port, databases, failed, stop }
}

/** Before anything reads or writes by the rows that it completes. */
async function finishCutRestore(options: Parameters<typeof finishRestore>[0], logger: Logger): Promise<void> {
  const adopted = await finishRestore(options)
  if (adopted !== null) logger.warn({ adopted }, 'a restore of the metadata had been cut off: what has moved since its export was looked for again on the drives')
}

function openNative(config: Config, logger: Logger): Native {
  const native = loadNative()
  native.init({ memoryLimitBytes: config.memoryLimitBytes, logFilter: config.rustLog, runtimeThreads: Math.max(2, availableParallelism()) })
  native.setLogger(({ level, target, message, requestId }) => logger[level]({ target, requestId }, message))
  logger.debug({ features: native.features() }, 'addon loaded')
  return native
}

/** uWebSockets.js shares ports silently: two nodes on one would take turns. @throws StartError */
async function requireFreePort(http: Config['http']): Promise<void> {
  try {
    await assertPortFree(http)
  } catch (error) {
    throw new StartError([`HTTP_BIND_ADDR is ${http.host}:${http.port}, must be an address that this node can listen on alone: ${(error as Error).message}`])
  }
}

/** @throws StartError when its address is taken */
async function openGrpc(config: Config, storage: StorageRuntime, status: StatusSource, logger: Logger): Promise<GrpcServer> {
  const { grpc: listen, tls, jwtSecret } = config
  try {
    return await startGrpcServer({ listen, tls, jwtSecret, directory: storage.directory, status, logger })
  } catch (error) {
    throw new StartError([`GRPC_BIND_ADDR is ${listen.host}:${listen.port}, must be an address that this node can listen on alone: ${(error as Error).message}`])
  }
}

/** @throws StartError when its address is taken */
async function openMetrics({ metrics: listen }: Config, text: () => Promise<string>, logger: Logger): Promise<MetricsServer> {
  try {
    return await startMetricsServer(listen, text, logger)
  } catch (error) {
    throw new StartError([`ANVIL_METRICS_BIND_ADDR is ${listen.host}:${listen.port}, must be an address that this node can listen on: ${(error as Error).message}`])
  }
}

/** Members that should be there and cannot be had. Those that said goodbye are not missed. */
function absentMembers({ membership, drives }: Peers): string[] {
  const name = nodeName(membership)
  return membership.members.flatMap(({ nodeId, state }) => {
    if (state === 'dead') return [`${name(nodeId)} is dead`]
    if (state === 'suspect') return [`${name(nodeId)} is suspected to be dead`]
    return state === 'alive' && !drives.answers(nodeId) ? [`${name(nodeId)} is alive, but its shard plane does not answer`] : []
  })
}

/** A node as people know it: its id, and where it is. */
const nodeName = (membership: Membership) => (nodeId: string): string => {
  const [, , host] = membership.members.find((member) => member.nodeId === nodeId)?.addrs[0]?.split('/') ?? []
  return host === undefined ? `node ${nodeId}` : `node ${nodeId} (${host})`
}

async function openGateways(
  config: Config, databases: PreparedDatabases, storage: StorageRuntime, host: GatewayHost, listeners: ThreadListeners, signal: AbortSignal | undefined,
): Promise<Gateways> {
  if (config.gatewayThreads === 0) return mainThreadGateways(createGatewayRuntime(config, storage, host))
  const view: NodeView = { drives: host.view(), health: host.health(), ready: host.ready() }
  return threadGateways(config.gatewayThreads, { config, global: databases.global, regional: databases.regional, view }, listeners, signal)
}

/** Keeps the gateways' view of drives and health up to date. */
function watchView(gateways: Gateways, sources: readonly (LocalDrives | ClusterDrives)[], view: () => NodeView): { stop(): Promise<void> } {
  const update = (): void => gateways.update(view())
  for (const source of sources) source.on('change', update)
  const timer = setInterval(update, VIEW_MS)
  return {
    stop: () => {
      clearInterval(timer)
      for (const source of sources) source.off('change', update)
      return Promise.resolve()
    },
  }
}

/** Health as it is now; says in the log when a warning is new. */
class HealthReport {
  readonly #input: () => HealthInput
  readonly #logger: Logger
  #warned = new Set<string>()

  constructor(input: () => HealthInput, logger: Logger) {
    this.#input = input
    this.#logger = logger
  }

  get body(): Health['body'] {
    return nodeHealth(this.#input()).body
  }

  live(): Health {
    return nodeHealth(this.#input())
  }

  readiness(): Health {
    return nodeReadiness(this.#input())
  }

  warn(): void {
    // drives and members have said in the log what they are
    const warnings = new Set(this.#input().lossWarnings)
    for (const warning of warnings) if (!this.#warned.has(warning)) this.#logger.warn(warning)
    this.#warned = warnings
  }
}

interface Copies {
  embedded: boolean
  exports: MetadataExports | null
}

function adminRoutes(
  native: Native, drives: LocalDrives, storage: StorageRuntime, maintenance: Maintenance, health: HealthReport, { membership, drives: cluster }: Peers,
  copies: Copies, changed: (event: ClusterEvent) => void,
) {
  return {
    'GET /status': async () => ({
      health: health.body,
      drives: drives.all,
      cluster: {
        code: health.body.code,
        placeable: cluster.view().drives.length,
        members: membership.members.map(({ nodeId, state, addrs, processId }) => ({ nodeId, state, addrs, processId })),
        problems: membership.problems,
      },
      driveStats: native.driveStats(),
      engine: native.stats(),
      metadata: await storage.metadata.counts(),
      background: maintenance.status(),
      metadataCopies: { embedded: copies.embedded, exports: copies.exports?.status() ?? null },
    }),
    // a command on this host has changed apps or buckets: all nodes of the region know at once
    'POST /directory-changed': async () => {
      for (const change of await storage.directory.refresh()) changed(change)
    },
    'POST /scrub': () => maintenance.scrubNow(),
    'POST /run-now': () => maintenance.runNow(),
    'POST /metadata/export': async () => {
      if (copies.exports === null) throw new Error(copies.embedded ? 'exports on the drives are switched off (ANVIL_METADATA_EXPORT_PERIOD_SECS=0)' : 'the metadata is on servers of its own: back them up there, or use `anvil admin metadata export`')
      const { exportedMs, blobs } = await copies.exports.storeNow()
      return { exportedMs, bytes: blobs.reduce((sum, { size }) => sum + size, 0) }
    },
    'POST /removal/confirm': () => maintenance.confirmRemoval(),
  }
}
