/** The metadata's server dies, stops and hangs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault, Planned } from './fault.ts'
import type { Stage } from '../stage.ts'

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

const restarted: Fault = {
  name: 'Postgres restarted', weight: 1,
  draw: (stage) => planned(stage, 'Postgres stopped and started', () => stage.cluster.postgres.restart()),
}

/** Its connections stay, and nothing answers on them. */
const paused: Fault = {
  name: 'Postgres paused', weight: 2,
  draw(stage, random) {
    const ms = random.between(500, 16_000)
    return planned(stage, `SIGSTOP Postgres for ${ms} ms`, async () => {
      const pids = serverPids(stage)
      signal(pids, 'SIGSTOP')
      await stage.sleep(ms)
      signal(pids, 'SIGCONT')
    })
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

export const postgresFaults: readonly Fault[] = [killed, restarted, paused, sessionsEnded]

/** Stands among the nodes: one fault of it at a time. */
const POSTGRES = -1

function planned(stage: Stage, text: string, play: () => Promise<void>): Planned | null {
  return stage.taken.has(POSTGRES) ? null : { text, nodes: [POSTGRES], survivable: false, play }
}

function serverPids({ cluster }: Stage): number[] {
  const postmaster = Number(readFileSync(join(cluster.postgres.config.host, 'data', 'postmaster.pid'), 'utf8').split('\n', 1)[0])
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
