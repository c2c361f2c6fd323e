/** Hosts that do not hear each other, or not all. Every node goes on hearing Postgres and the clients. */
import type { Undo } from '../network.ts'
import type { Stage } from '../stage.ts'
import { type Fault, freeNodes, named, type Planned } from './fault.ts'

const halves: Fault = {
  name: 'partition', weight: 3,
  draw(stage, random) {
    const here = freeNodes(stage, random, Math.floor(stage.all.length / 2))
    const ms = random.between(2000, 45_000)
    if (here === null || stage.taken.size > 0) return null
    const there = stage.all.filter((i) => !here.includes(i))
    return planned(stage, `${named(here)} do not hear the others, nor these them, for ${ms} ms`, stage.all, false, ms, () => stage.network!.cut(here, there))
  },
}

const isolated: Fault = {
  name: 'isolated', weight: 3,
  draw(stage, random) {
    const here = freeNodes(stage, random, random.between(1, 2))
    const ms = random.between(1000, 40_000)
    if (here === null) return null
    const there = stage.all.filter((i) => !here.includes(i))
    // two of them go on writing with a code of their own, and the others cannot read that
    return planned(stage, `${named(here)} cut off from the other nodes for ${ms} ms`, here, here.length === 1, ms, () => stage.network!.cut(here, there))
  },
}

const oneWay: Fault = {
  name: 'one way', weight: 3,
  draw(stage, random) {
    const here = freeNodes(stage, random, 1)
    const ms = random.between(1000, 30_000)
    const others = random.some(stage.all.filter((i) => !here?.includes(i)), random.between(1, stage.all.length - 1))
    if (here === null) return null
    return planned(stage, `node ${here[0]} does not hear ${named(others)}, which hear it, for ${ms} ms`, here, true, ms, () => stage.network!.deafen(here[0]!, others))
  },
}

const loss: Fault = {
  name: 'loss', weight: 2,
  draw(stage, random) {
    const nodes = freeNodes(stage, random, random.between(1, stage.all.length))
    const percent = random.pick([2, 5, 10, 20, 30])
    const ms = random.between(3000, 30_000)
    if (nodes === null) return null
    return planned(stage, `${named(nodes)} lose ${percent} % of the packets from other nodes for ${ms} ms`, nodes, false, ms, async () => {
      const undo = await Promise.all(nodes.map((i) => stage.network!.lose(i, percent)))
      return async () => void (await Promise.all(undo.map((one) => one())))
    })
  },
}

const delay: Fault = {
  name: 'delay', weight: 2,
  possible: (stage) => stage.network?.delays === true,
  draw(stage, random) {
    const nodes = freeNodes(stage, random, random.between(1, stage.all.length))
    const packetMs = random.pick([10, 50, 200, 500])
    const ms = random.between(3000, 30_000)
    if (nodes === null) return null
    return planned(stage, `what ${named(nodes)} send takes ${packetMs} ms longer for ${ms} ms`, nodes, false, ms, async () => {
      const undo = await Promise.all(nodes.map((i) => stage.network!.delay(i, packetMs)))
      return async () => void (await Promise.all(undo.map((one) => one())))
    })
  },
}

export const networkFaults: readonly Fault[] = [halves, isolated, oneWay, loss, delay].map((fault) => ({
  ...fault, possible: (stage) => stage.network !== null && (fault.possible?.(stage) ?? true),
}))

function planned(stage: Stage, text: string, nodes: readonly number[], survivable: boolean, ms: number, apply: () => Promise<Undo>): Planned {
  return {
    text, nodes, survivable,
    async play() {
      const undo = await apply()
      await stage.sleep(ms)
      await undo()
    },
  }
}
