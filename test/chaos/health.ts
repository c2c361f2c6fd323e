/** What the processes themselves tell: their memory, sampled, and the lines of their logs that none should write. */
import type { NodeProcess } from '../support/node-process.ts'
import { memoryOf } from '../support/node-process.ts'
import type { Findings } from './findings.ts'

const SAMPLE_MS = 2000
const MIB = 1024 * 1024
const PANIC = /unhandled|uncaught|panicked|heap out of memory|Segmentation fault|core dumped/i
const ERROR_LEVEL = 50
const SHOWN = 12

export class MemoryWatch {
  readonly peaks: number[]
  readonly #timer: NodeJS.Timeout
  readonly #told = new Set<number>()

  /** @param boundBytes more than this resident is a finding */
  constructor(nodes: readonly NodeProcess[], boundBytes: number, findings: Findings) {
    this.peaks = nodes.map(() => 0)
    this.#timer = setInterval(() => nodes.forEach((node, i) => {
      const bytes = resident(node)
      this.peaks[i] = Math.max(this.peaks[i]!, bytes)
      if (bytes <= boundBytes || this.#told.has(node.pid)) return
      this.#told.add(node.pid)
      findings.add('too much memory', `node ${i} has ${Math.round(bytes / MIB)} MiB resident`)
    }), SAMPLE_MS)
  }

  stop(): string {
    clearInterval(this.#timer)
    return this.peaks.map((bytes) => Math.round(bytes / MIB)).join(', ')
  }
}

function resident(node: NodeProcess): number {
  try {
    return memoryOf(node.pid, 'VmRSS')
  } catch {
    return 0 // it does not run now
  }
}

/** Panics are findings; what was logged as an error is answered, counted by message. */
export function readLogs(nodes: readonly NodeProcess[], findings: Findings): string[] {
  const errors = new Map<string, number>()
  nodes.forEach((node, i) => {
    for (const line of node.log().split('\n')) {
      if (PANIC.test(line)) findings.add('a panic in the log', `node ${i}: ${line.slice(0, 1500)}`)
      const entry = parsed(line)
      if (entry !== null && entry.level >= ERROR_LEVEL) errors.set(entry.msg, (errors.get(entry.msg) ?? 0) + 1)
    }
  })
  return [...errors].toSorted(([, a], [, b]) => b - a).slice(0, SHOWN).map(([msg, count]) => `${count} × ${msg.slice(0, 200)}`)
}

function parsed(line: string): { level: number; msg: string } | null {
  if (!line.startsWith('{')) return null
  try {
    const { level, msg } = JSON.parse(line) as { level?: unknown; msg?: unknown }
    return typeof level === 'number' ? { level, msg: String(msg) } : null
  } catch {
    return null // cut off by a kill
  }
}
