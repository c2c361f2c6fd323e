/** The state of the cluster as a table for people. */
import type { ClusterStatus__Output } from '../grpc/generated/anvil/v1/ClusterStatus.ts'
import type { Database__Output } from '../grpc/generated/anvil/v1/Database.ts'
import { formatBytes, tableLines } from './output.ts'

export function clusterTable(status: ClusterStatus__Output, nowMs: number): string[] {
  const { redundancy, metadata } = status
  const nodes = status.nodes.map((node) => ({
    node: node.id, state: node.state, since: node.changedMs === 0 ? '-' : age(nowMs - node.changedMs), zone: node.zone || '-',
    version: node.version, drives: `${node.drives.filter((drive) => drive.state === 'online').length}/${node.drives.length}`,
    used: used(node.drives), address: node.addrs.join(' '),
  }))
  const drives = status.nodes.flatMap((node) => node.drives.map((drive) => ({
    drive: drive.id, state: drive.state, node: node.id.slice(-8), path: drive.path || '-', size: formatBytes(drive.totalBytes), free: drive.freeBytes < 0 ? '-' : formatBytes(drive.freeBytes),
  })))
  return [
    `region ${status.region}, deployment ${status.deploymentId}, asked of ${status.nodeId}`,
    '',
    ...tableLines(nodes, ['node', 'state', 'since', 'zone', 'version', 'drives', 'used', 'address']),
    ...status.nodes.filter(({ problem }) => problem !== '').map(({ id, problem }) => `node ${id} ${problem}`),
    '',
    ...tableLines(drives, ['drive', 'state', 'node', 'path', 'size', 'free']),
    '',
    `redundancy  new objects ${redundancy?.code || 'none: writes are refused'}; ${riskText(status)}`,
    `            ${redundancy?.objectsBelowFull ?? 0} objects below full redundancy (${redundancy?.shardsToRepair ?? 0} shards to repair), ${redundancy?.groupsBelowFull ?? 0} placement groups with ${formatBytes(redundancy?.bytesBelowFull ?? 0)}`,
    `databases   global ${database(metadata?.global)}, regional ${database(metadata?.regional)}`,
    ...status.warnings.map((warning) => `warning     ${warning}`),
    ...status.problems.map((problem) => `peer        ${problem.peer}: ${problem.text} (${problem.kind}, for ${age(nowMs - problem.sinceMs)})`),
  ]
}

function riskText({ redundancy, nodes }: ClusterStatus__Output): string {
  const zoned = nodes.some(({ zone }) => zone !== '')
  if (redundancy?.singleDriveAtRisk === true) return 'the loss of one drive can lose data'
  if (redundancy?.singleNodeAtRisk === true) return 'the loss of one node can lose data'
  if (!zoned) return 'any one drive or node may be lost'
  return redundancy?.singleZoneAtRisk === true ? 'any one drive or node may be lost, the loss of a zone can lose data' : 'any one drive, node or zone may be lost'
}

function database(state: Database__Output | null | undefined): string {
  if (state === null || state === undefined) return 'unknown'
  return `${state.state}${state.reason === '' ? '' : ` (${state.reason})`}${state.embedded ? ', embedded: one copy' : ''}`
}

function used(drives: readonly { totalBytes: number; freeBytes: number }[]): string {
  const known = drives.filter((drive) => drive.freeBytes >= 0)
  if (known.length === 0) return '-'
  const total = known.reduce((sum, drive) => sum + drive.totalBytes, 0)
  const free = known.reduce((sum, drive) => sum + drive.freeBytes, 0)
  return `${formatBytes(total - free)} of ${formatBytes(total)}`
}

function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}
