/** CPU time of this process's threads by their names, as Linux counts it (proc(5), /proc/PID/task/TID/stat). */
import { readdirSync, readFileSync } from 'node:fs'

/** USER_HZ: what the fields of stat count in; 100 on every architecture that Linux's user space knows. */
const TICKS_PER_SECOND = 100
const TASKS = '/proc/self/task'

/** Seconds by name of thread, user and system together. Threads of a pool share a name; its number is left out. */
export function threadCpuSeconds(): Map<string, number> {
  const seconds = new Map<string, number>()
  for (const task of readdirSync(TASKS)) {
    const stat = readStat(task)
    if (stat === null) continue
    seconds.set(stat.name, (seconds.get(stat.name) ?? 0) + stat.ticks / TICKS_PER_SECOND)
  }
  return seconds
}

function readStat(task: string): { name: string; ticks: number } | null {
  let text: string
  try {
    text = readFileSync(`${TASKS}/${task}/stat`, 'latin1')
  } catch {
    return null // the thread has ended since
  }
  // the name may hold anything, brackets too
  const close = text.lastIndexOf(')')
  const fields = text.slice(close + 2).split(' ')
  const name = text.slice(text.indexOf('(') + 1, close).replace(/[-_ ]?\d+$/, '')
  return { name, ticks: Number(fields[11]) + Number(fields[12]) }
}
