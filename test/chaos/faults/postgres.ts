/** The servers of the metadata die, stop and hang. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '../../e2e/status.ts'
import type { TestPostgres } from '../../support/postgres.ts'
import { until } from '../../support/until.ts'
import type { Stage } from '../stage.ts'
import type { Fault, Planned } from './fault.ts'

const killed: Fault = {
  name: 'Postgres killed', weight: 2,
  draw(stage, random) {
    const ms = random.between(0, 8000)
    return planned(stage, `kill -9 Postgres, back after ${ms} ms`, async () => {
      await stage.cluster.postgres.kill9()
      await stage.sleep(ms)
      await stage.cluster.postgres.restart()
    })
  },
}

const PROCESSES = ['client backend', 'client backend', 'walwriter', 'checkpointer', 'background writer']

/** The server then ends all sessions, some in the middle of a commit, and recovers. */
const processKilled: Fault = {
  name: 'Postgres process killed', weight: 2, always: true,
  draw(stage, random) {
    const kills = Array.from({ length: random.between(1, 3) }, () => ({ type: random.pick(PROCESSES), which: random.between(0, 3), ms: random.between(200, 6000) }))
    return planned(stage, `kill -9 one process of Postgres: ${kills.map(({ type }) => type).join(', then ')}`, async () => {
      for (const { type, which, ms } of kills) {
        const pids = await stage.sql<{ pid: number }>(`
          SELECT pid FROM pg_stat_activity WHERE backend_type = $1 AND pid <> pg_backend_pid() AND coalesce(datname, 'anvil_regional') = 'anvil_regional'
          ORDER BY state = 'active' DESC NULLS LAST, pid`, [type])
        if (pids.length > 0) signal([pids[Math.min(which, pids.length - 1)]!.pid], 'SIGKILL')
        await stage.sleep(ms)
        await untilAnswering(stage)
      }
    })
  },
}

/** Its sessions outlive it for a moment, and may commit in it. */
const postmasterKilled: Fault = {
  name: 'Postgres orphaned', weight: 1,
  draw(stage, random) {
    const ms = random.between(0, 5000)
    return planned(stage, `kill -9 the postmaster alone, back after ${ms} ms`, async () => {
      signal([postmasterPid(stage.cluster.postgres)], 'SIGKILL')
      await stage.sleep(ms)
      await stage.cluster.postgres.restart()
    })
  },
}

const restarted: Fault = {
  name: 'Postgres restarted', weight: 1,
  draw: (stage) => planned(stage, 'Postgres stopped and started', () => stage.cluster.postgres.restart()),
}

/** Its connections stay, and nothing answers on them. */
const paused: Fault = {
  name: 'Postgres paused', weight: 2,
  draw(stage, random) {
    const ms = random.between(500, 16_000)
    return planned(stage, `SIGSTOP Postgres for ${ms} ms`, () => pause(stage.cluster.postgres, ms))
  },
}

/** All sessions are ended by the server, some in the middle of a commit. */
const sessionsEnded: Fault = {
  name: 'Postgres sessions ended', weight: 2,
  draw(stage, random) {
    const times = random.between(1, 8)
    return planned(stage, `all sessions of Postgres ended, ${times} times`, async () => {
      for (let i = 0; i < times; i++) {
        await stage.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = $1 AND pid <> pg_backend_pid()', ['client backend'])
        await stage.sleep(300)
      }
    })
  },
}

/** A new timeline, as after a failover: nothing is removed until somebody says that it may. */
const promoted: Fault = {
  name: 'Postgres promoted', weight: 1, alone: true,
  draw(stage) {
    return planned(stage, 'Postgres on a new timeline, confirmed for removal', async () => {
      await stage.cluster.postgres.promote()
      const reasons = async (): Promise<string[]> => (await Promise.all(stage.cluster.nodes.map(status))).map(({ background }) => background.removalPaused)
      await until('removal is paused on all nodes', async () => {
        await stage.hurry()
        return (await reasons()).every((reason) => reason !== '')
      }, { timeoutMs: RECOVERY_MS })
      for (const node of stage.cluster.nodes) await node.adminSocket('POST', '/removal/confirm')
      await until('removal goes on', async () => {
        await stage.hurry()
        return (await reasons()).every((reason) => reason === '')
      }, { timeoutMs: RECOVERY_MS })
    })
  },
}

/** What nodes know of buckets and apps serves on. */
const globalAway: Fault = {
  name: 'global database away', weight: 2,
  draw(stage, random) {
    const ms = random.between(1000, 20_000)
    const hangs = random.chance(0.5)
    if (stage.taken.has(GLOBAL)) return null
    return {
      text: `${hangs ? 'SIGSTOP' : 'kill -9'} the global database for ${ms} ms`, nodes: [GLOBAL], survivable: true,
      async play() {
        if (hangs) return pause(stage.globalDatabase, ms)
        await stage.globalDatabase.kill9()
        await stage.sleep(ms)
        await stage.globalDatabase.restart()
      },
    }
  },
}

export const postgresFaults: readonly Fault[] = [killed, processKilled, postmasterKilled, restarted, paused, sessionsEnded, promoted, globalAway]

/** They stand among the nodes: one fault of each server at a time. */
const REGIONAL = -1
const GLOBAL = -2
const RECOVERY_MS = 120_000

function planned(stage: Stage, text: string, play: () => Promise<void>): Planned | null {
  return stage.taken.has(REGIONAL) ? null : { text, nodes: [REGIONAL], survivable: false, play }
}

async function pause(postgres: TestPostgres, ms: number): Promise<void> {
  const pids = serverPids(postgres)
  signal(pids, 'SIGSTOP')
  await sleep(ms)
  signal(pids, 'SIGCONT')
}

async function untilAnswering(stage: Stage): Promise<void> {
  for (const endMs = performance.now() + RECOVERY_MS; ;) {
    try {
      return void (await stage.sql('SELECT 1'))
    } catch (error) {
      if (performance.now() > endMs) throw error
      await stage.sleep(100)
    }
  }
}

const postmasterPid = ({ config }: TestPostgres): number => Number(readFileSync(join(config.host, 'data', 'postmaster.pid'), 'utf8').split('\n', 1)[0])

function serverPids(postgres: TestPostgres): number[] {
  const postmaster = postmasterPid(postgres)
  const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').split(' ').filter((pid) => pid.trim() !== '').map(Number)
  return [postmaster, ...children]
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}
