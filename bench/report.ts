/** Tables for people: on the terminal and in docs/benchmark.md. */
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { MIB, sizeName } from './cases.ts'
import type { Measurement } from './measure.ts'

export interface Machine {
  cpu: string
  cores: number
  memoryGib: number
  kernel: string
  node: string
  features: string
  /** Before the run: near 0, or others were at work on the same cores. */
  loadBefore: number
}

export function machine(): Machine {
  const flags = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? []
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: availableParallelism(), memoryGib: Math.round(totalmem() / 1024 / MIB), kernel: release(), node: process.version,
    features: ['avx2', 'avx512f', 'gfni', 'sha_ni', 'vaes'].filter((flag) => flags.includes(flag)).join(' '),
    loadBefore: loadavg()[0] ?? 0,
  }
}

const COLUMNS = ['op', 'size', 'conn', 'payload', 'MB/s', 'req/s', 'p50 ms', 'p99 ms', 'CPU s/GB', 'CPU s/1000', 'of it db', 'peak MiB', 'load CPU', 'failed'] as const

export const throughput = (one: Measurement): number => one.bodyBytes / 1e6 / (one.elapsedMs / 1000)
const perSecond = (one: Measurement): number => one.requests / (one.elapsedMs / 1000)
const serverCpu = (one: Measurement): number => one.serverCpuSeconds + one.databaseCpuSeconds
const short = (value: number): string => (Number.isFinite(value) ? (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)) : '-')

export const failuresOf = (one: Measurement): string =>
  Object.keys(one.failures).length === 0 ? '0' : Object.entries(one.failures).map(([what, count]) => `${count}x ${what}`).join(' ')

function cells(one: Measurement): string[] {
  return [
    one.operation, sizeName(one.sizeBytes), String(one.connections), one.operation === 'GET' ? '-' : one.signedPayload ? 'signed' : 'unsigned',
    short(throughput(one)), short(perSecond(one)), short(one.p50Ms), short(one.p99Ms),
    short(serverCpu(one) / (one.bodyBytes / 1e9)), short((serverCpu(one) / one.requests) * 1000), short((one.databaseCpuSeconds / one.requests) * 1000),
    String(Math.round(one.peakMemoryBytes / MIB)), `${Math.round((one.loadCpuSeconds / (one.elapsedMs / 1000)) * 100)} %`, failuresOf(one),
  ]
}

export function textTable(measurements: readonly Measurement[]): string {
  const rows = [[...COLUMNS], ...measurements.map(cells)]
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows.map((row) => row.map((text, i) => text.padStart(widths[i]!)).join('  ')).join('\n')
}

const markdownTable = (measurements: readonly Measurement[]): string =>
  [`| ${COLUMNS.join(' | ')} |`, `|${COLUMNS.map(() => '---:').join('|')}|`, ...measurements.map((one) => `| ${cells(one).join(' | ')} |`)].join('\n')

export interface Advice {
  target: string
  /** Geometric mean over all cases of its throughput against the best in each. 1: best everywhere. */
  score: number
}

/** Which settings to use on this host, best first. Only cases that every target ran count. */
export function ranking(measurements: readonly Measurement[]): Advice[] {
  const byCase = Map.groupBy(measurements, ({ operation, sizeBytes, connections, signedPayload }) => `${operation} ${sizeBytes} ${connections} ${signedPayload}`)
  const targets = [...new Set(measurements.map((one) => one.target))]
  const logs = new Map(targets.map((target) => [target, { sum: 0, count: 0 }]))
  for (const rivals of byCase.values()) {
    if (rivals.length < targets.length) continue
    const best = Math.max(...rivals.map(throughput))
    for (const one of rivals) {
      const entry = logs.get(one.target)!
      entry.sum += Math.log(Math.max(throughput(one), 1e-9) / best)
      entry.count++
    }
  }
  return [...logs].map(([target, { sum, count }]) => ({ target, score: Math.exp(sum / Math.max(count, 1)) })).sort((a, b) => b.score - a.score)
}

export interface Report {
  machine: Machine
  command: string
  date: string
  commit: string
  measurements: Measurement[]
  /** Of the settings of one and the same server. */
  ranking: Advice[]
  notes: string[]
}

export function markdown(report: Report): string {
  const { machine: host, measurements, ranking: ranks } = report
  const targets = [...new Set(measurements.map((one) => one.target))]
  return `# Benchmark

Made by \`${report.command}\` on ${report.date} at commit ${report.commit}; rewritten by each full run. The figures as they are, losers too.

Machine: ${host.cpu}, ${host.cores} cores (${host.features}), ${host.memoryGib} GiB, Linux ${host.kernel}, Node ${host.node}. Server, its Postgres and the load (autocannon in a process of its own) share these cores. Load average before the run: ${host.loadBefore.toFixed(1)}${host.loadBefore > 1 ? ', so others were at work on this machine, and these figures are lower bounds: CPU per GB and per 1000 requests tell more than throughput' : ''}.

MB are 10^6 bytes. CPU is that of the server and of its Postgres (\`of it db\`: Postgres alone, seconds per 1000 requests), user and system, per 10^9 bytes of bodies and per 1000 requests. \`load CPU\` is the load process's own, of one core: near 100 % it is the limit, not the server. \`failed\` counts every answer that is not 2xx and every broken connection.

## What to use on this host

${ranks.map(({ target, score }, i) => `${i + 1}. ${target}: ${Math.round(score * 100)} % of the best, as a geometric mean over all cases`).join('\n')}
${report.notes.length === 0 ? '' : `\n${report.notes.map((note) => `- ${note}`).join('\n')}\n`}
${targets.map((target) => `## ${target}\n\n${markdownTable(measurements.filter((one) => one.target === target))}`).join('\n\n')}
`
}
