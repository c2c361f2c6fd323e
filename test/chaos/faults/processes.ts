/** Nodes that die, hang and are restarted. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../random.ts'
import type { Stage } from '../stage.ts'
import { type Fault, freeNodes, named, type Planned } from './fault.ts'

/** Two of six may go. */
const LOSSES = 2

const kill: Fault = {
  name: 'kill', weight: 6,
  draw: (stage, random) => away(stage, random, random.between(1, LOSSES), random.between(500, 15_000), 'kill -9'),
}

/** Beyond what the code tolerates: nothing is promised but that nothing is lost. */
const killMany: Fault = {
  name: 'kill many', weight: 2,
  draw: (stage, random) => away(stage, random, random.between(LOSSES + 1, stage.all.length), random.between(0, 4000), 'kill -9'),
}

/** Longer than a lease in the database and the repair delay: what it held is given to others where there are some. */
const outage: Fault = {
  name: 'outage', weight: 2,
  draw: (stage, random) => away(stage, random, random.between(1, LOSSES), random.between(33_000, 50_000), 'kill -9'),
}

const restart: Fault = {
  name: 'restart', weight: 3,
  draw: (stage, random) => away(stage, random, random.between(1, LOSSES), random.between(0, 5000), 'SIGTERM'),
}

const pause: Fault = {
  name: 'pause', weight: 5,
  draw: (stage, random) => hang(stage, random, random.pick([1, 1, 2, 3]), random.between(1000, 30_000)),
}

/** Wakes up after its lease has ended, with uploads in groups that were closed meanwhile. */
const longPause: Fault = {
  name: 'long pause', weight: 3,
  draw: (stage, random) => hang(stage, random, random.between(1, LOSSES), random.between(31_000, 50_000)),
}

/** Dies in the middle of coming up, again and again. */
const flap: Fault = {
  name: 'flap', weight: 2,
  draw(stage, random) {
    const nodes = freeNodes(stage, random, 1)
    const times = Array.from({ length: random.between(2, 4) }, () => random.between(100, 4000))
    if (nodes === null) return null
    const [i] = nodes as [number]
    return {
      text: `kill -9 node ${i}, ${times.length} times while it starts`, nodes, survivable: true,
      async play() {
        await stage.kill(i)
        for (const ms of times) {
          stage.node(i).launch()
          await stage.sleep(ms)
          if (stage.node(i).running) await stage.node(i).kill()
        }
        await stage.start(i)
      },
    }
  },
}

/** The index of a drive is a cache of what its segments say. */
const indexLost: Fault = {
  name: 'index lost', weight: 1,
  draw(stage, random) {
    const nodes = freeNodes(stage, random, 1)
    if (nodes === null) return null
    const [i] = nodes as [number]
    return {
      text: `kill -9 node ${i}, and its drive's index removed`, nodes, survivable: true,
      async play() {
        await stage.kill(i)
        rmSync(join(stage.node(i).drives[0]!, 'index.redb'), { force: true })
        await stage.start(i)
      },
    }
  },
}

export const processFaults: readonly Fault[] = [kill, killMany, outage, restart, pause, longPause, flap, indexLost]

function away(stage: Stage, random: Random, count: number, ms: number, how: 'kill -9' | 'SIGTERM'): Planned | null {
  const nodes = freeNodes(stage, random, count)
  if (nodes === null) return null
  return {
    text: `${how} ${named(nodes)}, back after ${ms} ms`, nodes, survivable: count <= LOSSES,
    async play() {
      await Promise.all(nodes.map((i) => (how === 'SIGTERM' ? stage.stop(i) : stage.kill(i))))
      await stage.sleep(ms)
      await Promise.all(nodes.map((i) => stage.start(i)))
    },
  }
}

function hang(stage: Stage, random: Random, count: number, ms: number): Planned | null {
  const nodes = freeNodes(stage, random, count)
  if (nodes === null) return null
  return {
    text: `SIGSTOP ${named(nodes)} for ${ms} ms`, nodes, survivable: count <= LOSSES,
    async play() {
      nodes.forEach((i) => stage.pause(i))
      await stage.sleep(ms)
      nodes.forEach((i) => stage.resume(i))
    },
  }
}
