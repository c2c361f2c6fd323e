/** CPU and memory of processes as Linux counts them (proc(5)). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** USER_HZ: fixed at 100 on Linux for what /proc shows. */
const TICKS_PER_SECOND = 100

interface Stat {
  parent: number
  /** Of the process itself and of its children that have ended. */
  cpuSeconds: number
}

function statOf(pid: number): Stat | null {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return null // it has ended
  }
  // the name in parentheses may hold anything: fields are counted from behind it, the first is the third of proc(5)
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0)
  return { parent: Number(fields[1]), cpuSeconds: ticks / TICKS_PER_SECOND }
}

/** CPU seconds of one process. */
export const cpuSeconds = (pid: number): number => statOf(pid)?.cpuSeconds ?? 0

/** CPU seconds of a process and everything below it. */
export function cpuSecondsOfTree(root: number): number {
  const stats = new Map(readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((name): [number, Stat | null] => [Number(name), statOf(Number(name))]))
  const isBelow = (pid: number): boolean => {
    for (let at = pid; at > 1; at = stats.get(at)?.parent ?? 0) if (at === root) return true
    return false
  }
  return [...stats].reduce((sum, [pid, stat]) => sum + (stat !== null && isBelow(pid) ? stat.cpuSeconds : 0), 0)
}

export function peakMemoryBytes(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  if (match === null) throw new Error(`process ${pid} shows no VmHWM`)
  return Number(match[1]) * 1024
}

/** From now on the peak counts anew. */
export const resetPeakMemory = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, '5')
