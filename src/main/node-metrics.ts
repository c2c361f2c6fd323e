/** All metrics of a node: those of its threads added up, and what the process as a whole knows. */
import { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { DriveStats, EngineStats } from '../shared/native.ts'
import type { PlanePeerStats } from '../shared/native-plane.ts'
import type { TaskStatus } from './maintenance/background.ts'
import type { Member } from './membership/contract.ts'
import type { TransportStats } from './transport/contract.ts'
import { threadCpuSeconds } from './observability/thread-cpu.ts'
import type { MetricValues } from './observability/thread-metrics.ts'

export interface NodeMetricsSources {
  version: string
  /** One list for each thread that serves requests. */
  threads(): Promise<MetricValues[]>
  engine(): EngineStats
  drives(): readonly DriveStats[]
  peers(): readonly PlanePeerStats[]
  members(): readonly Member[]
  /** The control plane between nodes, and how well this node is to judge others (Membership.health). */
  control(): { transport: TransportStats; health: number }
  background(): { tasks: readonly TaskStatus[]; damage: Record<string, number> }
  /** Tasks that wait for a worker of the pool. */
  poolQueue(): number
  databases(): { global: boolean; regional: boolean }
}

type Labels = Record<string, string>
/** Sets all values of a metric at once; labels that are not named any more are gone. */
type SetAll = (values: readonly (readonly [Labels, number])[]) => void
/** Reads a part of the node, and sets its metrics. */
type Refresh = () => void
/** Name, help, and the value in some figures. */
type Field<T> = readonly [name: string, help: string, value: (figures: T) => number]

/** The text of `/metrics`, anew for each call. */
export function nodeMetrics(sources: NodeMetricsSources): () => Promise<string> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  measured(registry, 'anvil_build_info', 'The version that runs', ['version'])([[{ version: sources.version }, 1]])
  const refreshes = [threads(registry), engine(registry, sources), drives(registry, sources), peers(registry, sources), control(registry, sources), background(registry, sources)]
  return async () => {
    for (const refresh of refreshes) refresh()
    const all = [...(await sources.threads()), await registry.getMetricsAsJSON()]
    return AggregatorRegistry.aggregate(all).metrics()
  }
}

/** A counter whose values somebody else counts. */
function counted(registry: Registry, name: string, help: string, labelNames: string[] = []): SetAll {
  const counter = new Counter({ name, help, labelNames, registers: [registry] })
  return (values) => {
    counter.reset()
    for (const [labels, value] of values) counter.inc(labels, value)
  }
}

function measured(registry: Registry, name: string, help: string, labelNames: string[] = []): SetAll {
  const gauge = new Gauge({ name, help, labelNames, registers: [registry] })
  return (values) => {
    gauge.reset()
    for (const [labels, value] of values) gauge.set(labels, value)
  }
}

/** Metrics of one kind of thing, one field each, labelled with what names the thing. */
function table<T>(
  registry: Registry, labelNames: string[], labels: (figures: T) => Labels, gauges: readonly Field<T>[], counters: readonly Field<T>[],
): (all: readonly T[]) => void {
  const columns = [
    ...gauges.map(([name, help, value]) => ({ set: measured(registry, name, help, labelNames), value })),
    ...counters.map(([name, help, value]) => ({ set: counted(registry, name, help, labelNames), value })),
  ]
  return (all) => {
    for (const { set, value } of columns) set(all.map((figures) => [labels(figures), value(figures)]))
  }
}

function threads(registry: Registry): Refresh {
  const seconds = counted(registry, 'anvil_thread_cpu_seconds_total', 'CPU time of threads by name, user and system', ['thread'])
  return () => seconds([...threadCpuSeconds()].map(([thread, value]) => [{ thread }, value]))
}

const ENGINE_GAUGES: readonly Field<EngineStats>[] = [
  ['anvil_body_memory_bytes', 'Memory of bodies under way', (stats) => stats.memoryUsedBytes],
  ['anvil_body_memory_limit_bytes', 'ANVIL_MEMORY_LIMIT', (stats) => stats.memoryLimitBytes],
  ['anvil_uploads', 'Uploads under way', (stats) => stats.uploads],
  ['anvil_reads', 'Reads under way', (stats) => stats.reads],
  ['anvil_jobs_queued', 'Jobs that wait for a worker', (stats) => stats.jobsQueued],
  ['anvil_hash_lanes', 'Streams hashed side by side, on average since the start', (stats) => stats.hashLanes],
]
const ENGINE_COUNTERS: readonly Field<EngineStats>[] = [
  ['anvil_jobs_total', 'Jobs done by workers', (stats) => stats.jobsRun],
  ['anvil_hashed_bytes_total', 'Bytes hashed', (stats) => stats.hashedBytes],
  ['anvil_degraded_reads_total', 'Reads that had to decode, since a data shard was missing or slow', (stats) => stats.degradedReads],
]

function engine(registry: Registry, { engine: stats, poolQueue, databases }: NodeMetricsSources): Refresh {
  const figures = table<EngineStats>(registry, [], () => ({}), ENGINE_GAUGES, ENGINE_COUNTERS)
  const queue = measured(registry, 'anvil_worker_tasks_queued', 'Tasks that wait in the worker pool')
  const up = measured(registry, 'anvil_database_up', 'Whether the database answers', ['database'])
  return () => {
    figures([stats()])
    queue([[{}, poolQueue()]])
    up(Object.entries(databases()).map(([database, answers]) => [{ database }, Number(answers)]))
  }
}

const DRIVE_GAUGES: readonly Field<DriveStats>[] = [
  ['anvil_drive_bytes', 'Size of the file system', (stats) => stats.totalBytes],
  ['anvil_drive_free_bytes', 'Free bytes of the file system', (stats) => stats.freeBytes],
  ['anvil_drive_live_bytes', 'Bytes of live shards', (stats) => stats.liveBytes],
  ['anvil_drive_dead_bytes', 'Bytes that compaction will free', (stats) => stats.deadBytes],
  ['anvil_drive_shards', 'Live shards', (stats) => stats.shards],
  ['anvil_drive_online', '1: online or full, 0: failed', (stats) => Number(stats.state !== 'failed')],
  ['anvil_drive_queue_depth', 'Operations that wait', (stats) => stats.queueDepth],
  ['anvil_drive_fsync_p50_seconds', 'Recent fdatasync, median', (stats) => stats.fsyncP50Ms / 1000],
  ['anvil_drive_fsync_p99_seconds', 'Recent fdatasync, 99th percentile', (stats) => stats.fsyncP99Ms / 1000],
]
const DRIVE_COUNTERS: readonly Field<DriveStats>[] = [
  ['anvil_drive_writes_total', 'Writes', (stats) => stats.writes],
  ['anvil_drive_written_bytes_total', 'Bytes written', (stats) => stats.writtenBytes],
  ['anvil_drive_reads_total', 'Reads', (stats) => stats.reads],
  ['anvil_drive_read_bytes_total', 'Bytes read', (stats) => stats.readBytes],
  ['anvil_drive_fsyncs_total', 'fdatasync calls', (stats) => stats.fsyncs],
  ['anvil_drive_io_errors_total', 'Failed operations', (stats) => stats.ioErrors],
  ['anvil_drive_crc_errors_total', 'Blocks that did not verify', (stats) => stats.crcErrors],
]

function drives(registry: Registry, { drives: stats }: NodeMetricsSources): Refresh {
  const figures = table<DriveStats>(registry, ['drive', 'path'], ({ driveId, path }) => ({ drive: driveId, path }), DRIVE_GAUGES, DRIVE_COUNTERS)
  return () => figures(stats())
}

const PEER_GAUGES: readonly Field<PlanePeerStats>[] = [
  ['anvil_peer_answering', 'Whether the shard plane of the peer answers', (stats) => Number(stats.answering)],
  ['anvil_peer_connections', 'Connections of the shard plane', (stats) => stats.connections],
  ['anvil_peer_rtt_seconds', 'Round-trip time', (stats) => stats.rttMs / 1000],
  ['anvil_peer_mtu_bytes', 'Path MTU', (stats) => stats.mtu],
]
const PEER_COUNTERS: readonly Field<PlanePeerStats>[] = [
  ['anvil_peer_sent_bytes_total', 'Bytes sent to the peer', (stats) => stats.sentBytes],
  ['anvil_peer_received_bytes_total', 'Bytes received from the peer', (stats) => stats.receivedBytes],
  ['anvil_peer_requests_total', 'Requests to the peer', (stats) => stats.requests],
  ['anvil_peer_failures_total', 'Requests that failed', (stats) => stats.failures],
]
const MEMBER_STATES = ['alive', 'suspect', 'dead', 'left'] as const

function peers(registry: Registry, { peers: stats, members }: NodeMetricsSources): Refresh {
  const figures = table<PlanePeerStats>(registry, ['peer'], ({ nodeId }) => ({ peer: nodeId }), PEER_GAUGES, PEER_COUNTERS)
  const states = measured(registry, 'anvil_members', 'Members of the cluster by state, as this node sees them', ['state'])
  return () => {
    figures(stats())
    const all = members()
    states(MEMBER_STATES.map((state) => [{ state }, all.filter((member) => member.state === state).length]))
  }
}

const CONTROL_GAUGES: readonly Field<TransportStats>[] = [
  ['anvil_gossip_peers', 'Peers with a live connection of the control plane', (stats) => stats.peers],
]
const CONTROL_COUNTERS: readonly Field<TransportStats>[] = [
  ['anvil_gossip_sent_bytes_total', 'Bytes sent over the control plane', (stats) => stats.sentBytes],
  ['anvil_gossip_received_bytes_total', 'Bytes received over the control plane', (stats) => stats.receivedBytes],
  ['anvil_gossip_sent_packets_total', 'Gossip packets sent', (stats) => stats.sentPackets],
  ['anvil_gossip_received_packets_total', 'Gossip packets received', (stats) => stats.receivedPackets],
  ['anvil_gossip_dropped_packets_total', 'Gossip packets that a slow or absent peer did not take in time', (stats) => stats.droppedPackets],
  ['anvil_gossip_requests_total', 'Requests to peers over the control plane', (stats) => stats.requests],
  ['anvil_gossip_failed_requests_total', 'Requests of them that failed', (stats) => stats.failedRequests],
  ['anvil_gossip_dials_total', 'Dials of peers', (stats) => stats.dials],
  ['anvil_gossip_failed_dials_total', 'Dials that gave no peer', (stats) => stats.failedDials],
  ['anvil_gossip_partings_total', 'Peers whose connections were closed for being too many and unused', (stats) => stats.partings],
]

function control(registry: Registry, { control: read }: NodeMetricsSources): Refresh {
  const figures = table<TransportStats>(registry, [], () => ({}), CONTROL_GAUGES, CONTROL_COUNTERS)
  const unwell = measured(registry, 'anvil_gossip_health', 'Local health: 0 is well; the higher, the longer this node waits before it suspects others')
  return () => {
    const { transport, health } = read()
    figures([transport])
    unwell([[{}, health]])
  }
}

function background(registry: Registry, { background: work }: NodeMetricsSources): Refresh {
  const done = counted(registry, 'anvil_background_total', 'What background work has done', ['task', 'what'])
  const failures = counted(registry, 'anvil_background_failures_total', 'Rounds of background work that failed', ['task'])
  const found = counted(registry, 'anvil_damaged_shards_total', 'Shards found damaged by reads and scrubbing', ['reason'])
  return () => {
    const { tasks, damage } = work()
    done(tasks.flatMap((task) => Object.entries(task.counters).map(([what, value]) => [{ task: task.name, what }, value] as const)))
    failures(tasks.map((task) => [{ task: task.name }, task.failures]))
    found(Object.entries(damage).map(([reason, value]) => [{ reason }, value]))
  }
}
