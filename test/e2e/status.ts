/** What a running node says of itself on its admin socket. */
import type { NodeProcess } from '../support/node-process.ts'
import type { DriveStats, EngineStats } from '../../src/shared/native.ts'
import { until, type UntilOptions } from '../support/until.ts'

export interface Status {
  health: { status: string; code: string | null; warnings: string[] }
  drives: { path: string; driveId: string | null; state: 'online' | 'full' | 'failed' | 'offline'; reason: string }[]
  driveStats: DriveStats[]
  engine: EngineStats
  metadata: { objects: number; blobs: number; garbage: number; repairs: number; uploads: number; condemned: number }
  background: {
    tasks: { name: string; rounds: number; failures: number; lastError: string; counters: Record<string, number> }[]
    damage: { crc: number; missing: number; io: number }
    removalPaused: string
  }
}

export const status = async (node: NodeProcess): Promise<Status> => (await node.adminSocket('GET', '/status')) as Status

/** Has background work look now instead of at its next interval. */
export const runNow = (node: NodeProcess): Promise<unknown> => node.adminSocket('POST', '/run-now')

/** Polls the status, with background work awake, until `condition` holds. */
export async function untilStatus(node: NodeProcess, what: string, condition: (now: Status) => boolean | Promise<boolean>, options: UntilOptions = {}): Promise<Status> {
  let last: Status | null = null
  return until(what, async () => {
    await runNow(node)
    last = await status(node)
    return (await condition(last)) ? last : null
  }, { everyMs: 250, timeoutMs: 60_000, detail: () => `${JSON.stringify(summary(last), null, 1)}\n${node.logTail()}`, ...options })
}

function summary(now: Status | null): unknown {
  if (now === null) return null
  const { health, drives, metadata, background, engine } = now
  return {
    health, drives, metadata, engine, damage: background.damage, paused: background.removalPaused,
    tasks: background.tasks.map(({ name, rounds, failures, lastError, counters }) => ({ name, rounds, failures, lastError, counters })),
  }
}
