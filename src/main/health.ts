/** What `/-/healthz` and `/-/readyz` answer, and what the log warns of: can the node serve, and what could a loss cost? */
import type { LocalDrive } from './drives/local-drives.ts'
import type { ErasureCode } from './placement/erasure-code.ts'

export interface Health {
  ok: boolean
  /** For people and probes; JSON. */
  body: {
    status: 'ok' | 'degraded' | 'unavailable'
    warnings: string[]
    version: string
    metadata: { state: 'ok' | 'away'; reason: string }
    code: string | null
    drives: { path: string; state: string; reason: string }[]
  }
}

export interface HealthInput {
  version: string
  draining: boolean
  metadata: { state: 'ok' | 'away'; reason: string }
  code: ErasureCode | null
  drives: readonly LocalDrive[]
  /** Whether any drive, here or on another node, can be read. */
  readable: boolean
  /** Members that cannot be had, a line each. */
  absentMembers: readonly string[]
  /** What a single loss could cost (`lossWarnings`). */
  lossWarnings: readonly string[]
}

function warningsOf({ drives, absentMembers, lossWarnings }: HealthInput): string[] {
  const troubled = drives.filter(({ state }) => state !== 'online').map(({ path, state, reason }) => `drive ${path} is ${state}: ${reason}`)
  return [...troubled, ...absentMembers, ...lossWarnings]
}

/** Liveness: the process answers. Degraded is alive. */
export function nodeHealth(input: HealthInput): Health {
  const { version, metadata, code, drives, absentMembers } = input
  const troubled = metadata.state !== 'ok' || code === null || absentMembers.length > 0 || drives.some((drive) => drive.state !== 'online')
  return {
    ok: true,
    body: {
      status: troubled ? 'degraded' : 'ok',
      warnings: warningsOf(input),
      version,
      metadata,
      code: code === null ? null : `${code.k}+${code.m}`,
      drives: drives.map(({ path, state, reason }) => ({ path, state, reason })),
    },
  }
}

/** Readiness: the node can read and knows its metadata. Draining is not ready. */
export function nodeReadiness(input: HealthInput): Health {
  const health = nodeHealth(input)
  const ok = !input.draining && input.metadata.state === 'ok' && input.readable
  return ok ? health : { ok, body: { ...health.body, status: 'unavailable' } }
}
