/** What a start looks at on its host: the open-files limit and the free space. Warnings are lines for the log. */
import { readFileSync, statfsSync } from 'node:fs'
import { GIB, MIB } from '../shared/limits.ts'

const WANTED_OPEN_FILES = 8192
const LEAST_OPEN_FILES = 512
const LEAST_STATE_BYTES = 256 * MIB
const WANTED_STATE_BYTES = 2 * GIB

export interface HostFindings {
  /** The node cannot run like this. */
  mistakes: string[]
  warnings: string[]
}

/** The soft limit of open files of this process; Infinity when unlimited. */
export function openFilesLimit(limits = readFileSync('/proc/self/limits', 'utf8')): number {
  const match = /^Max open files\s+(\S+)/m.exec(limits)
  if (match === null || match[1] === 'unlimited') return Number.POSITIVE_INFINITY
  return Number(match[1])
}

export function checkHost(stateDir: string, openFiles = openFilesLimit()): HostFindings {
  const findings: HostFindings = { mistakes: [], warnings: [] }
  if (openFiles < LEAST_OPEN_FILES) {
    findings.mistakes.push(`the limit of open files is ${openFiles}, Anvil needs at least ${LEAST_OPEN_FILES}: raise it (ulimit -n ${WANTED_OPEN_FILES})`)
  } else if (openFiles < WANTED_OPEN_FILES) {
    findings.warnings.push(`the limit of open files is ${openFiles}: each connection and each segment takes one, ${WANTED_OPEN_FILES} or more is advised (ulimit -n ${WANTED_OPEN_FILES})`)
  }
  const { bavail, bsize } = statfsSync(stateDir)
  const free = bavail * bsize
  const mib = Math.floor(free / MIB)
  if (free < LEAST_STATE_BYTES) findings.mistakes.push(`${stateDir} has ${mib} MiB free, Anvil needs at least ${LEAST_STATE_BYTES / MIB} MiB for its state`)
  else if (free < WANTED_STATE_BYTES) findings.warnings.push(`${stateDir} has only ${mib} MiB free`)
  return findings
}
