/** What happens in one run, from the command line's options, and what came of it. */
import type { MemberState } from '../../src/main/membership/contract.ts'
import type { NodeId } from '../../src/shared/ids.ts'
import type { Output } from '../../src/main/gossip/contract.ts'
import { MAX_BUCKETS } from '../../src/main/gossip/message-codec.ts'
import { Network, type SimNode } from './network.ts'
import type { Traffic } from './traffic.ts'

export interface Scenario {
  nodes: number
  seed: number
  seconds: number
  /** Of datagrams, 0 to 1. */
  loss: number
  /** Share of nodes that get CPU only in bursts, from second 5 on for slowSeconds. */
  slow: number
  slowSeconds: number
  /** `cpu`: timers and messages wait; `io`: messages alone, as in Lifeguard's experiments. */
  slowKind: 'cpu' | 'io'
  /** Killed one after the other, evenly over the first half of the time. */
  kill: number
  join: number
  leave: number
  /** SIGSTOP for stopSeconds. */
  stop: number
  stopSeconds: number
  /** Share that is cut off from the rest, from second 5 on for partitionSeconds. */
  partition: number
  partitionSeconds: number
}

export interface Outcome {
  /** From each kill to the first that held it for dead. */
  detectedMs: number[]
  /** From each kill until each healthy node held it for dead, one figure for each pair. Those that never did: Infinity. */
  knownMs: number[]
  /** From each kill until the last healthy node knew. */
  allKnowMs: number[]
  /** From each join until the last healthy node knew. */
  joinKnownMs: number[]
  leaveKnownMs: number[]
  /** Healthy nodes that healthy ones held for dead, as (observer, subject). */
  falseDeaths: number
  /** Nodes stopped for stopSeconds that anybody held for dead, and those that somebody suspected. */
  stoppedDeaths: number
  stoppedSuspected: number
  /** From the end of a partition until all were alive to all again; Infinity: never. */
  healedMs: number[]
  /** (observer, subject) at the end that are not what they should be: a living one held for dead or not known, a dead one for alive. */
  wrongViews: number
  /** Living ones under suspicion at the end. */
  suspicions: number
  messagesPerNodeSecond: number
  bytesPerNodeSecond: number
  /** Of the node with most. */
  maxBytesPerNodeSecond: number
  /** Seconds that nodes ran, all together. */
  nodeSeconds: number
  /** Of all nodes. */
  traffic: Traffic
}

interface Watched {
  node: SimNode
  sinceMs: number
  state: MemberState
  /** When each observer first saw it, by its index; 0: not yet. */
  seenMs: Uint32Array
}

const WARM_UP_MS = 5000

export function play(scenario: Scenario): Outcome {
  const watched = new Map<NodeId, Watched>()
  const wrong = { falseDeaths: 0, stoppedDeaths: new Set<SimNode>(), stoppedSuspected: new Set<SimNode>() }
  /** As each observer last saw a subject change, by the subject's index and then the observer's: a Map of pairs would be full at 2^24. */
  const incarnations: Float64Array[] = []
  const stopped = new Set<SimNode>()
  const byId = new Map<NodeId, SimNode>()
  const healed: number[] = []
  let cutOff = false

  const network = new Network({ seed: scenario.seed, loss: scenario.loss, nodes: scenario.nodes, onOutput: observe })
  for (const node of network.nodes) byId.set(node.id, node)
  schedule()
  network.run(scenario.seconds * 1000)
  return outcome()

  function observe(observer: SimNode, output: Output): void {
    if (output.kind === 'problem') throw new Error(`seed ${scenario.seed}: ${output.text}`)
    if (output.kind !== 'change') return
    const { member } = output
    const subject = byId.get(member.nodeId)
    if (subject === undefined) return
    const seen = (incarnations[subject.index] ??= new Float64Array(scenario.nodes + scenario.join))
    if (member.incarnation < seen[observer.index]!) throw new Error(`seed ${scenario.seed}: an incarnation of ${subject.index} went back at ${observer.index}`)
    seen[observer.index] = member.incarnation
    const watch = watched.get(member.nodeId)
    if (watch !== undefined && member.state === watch.state && watch.seenMs[observer.index] === 0) watch.seenMs[observer.index] = network.nowMs
    if (member.state === 'alive' || member.state === 'left') return
    if (stopped.has(subject)) (member.state === 'dead' ? wrong.stoppedDeaths : wrong.stoppedSuspected).add(subject)
    else if (member.state === 'dead' && isHealthy(observer) && isHealthy(subject) && !cutOff) wrong.falseDeaths++
  }

  function schedule(): void {
    const { random } = network
    const slowOnes = draw(Math.round(scenario.slow * scenario.nodes))
    for (const node of slowOnes) starve(node)
    const spread = (count: number, what: (i: number) => void): void => {
      const spanMs = (scenario.seconds * 1000) / 2 - WARM_UP_MS
      for (let i = 0; i < count; i++) network.at(Math.round(WARM_UP_MS + (spanMs * (i + random())) / count), () => what(i))
    }
    spread(scenario.kill, () => {
      const [node] = draw(1)
      if (node === undefined) return
      network.kill(node)
      watched.set(node.id, { node, sinceMs: network.nowMs, state: 'dead', seenMs: new Uint32Array(scenario.nodes + scenario.join) })
    })
    spread(scenario.leave, () => {
      const [node] = draw(1)
      if (node === undefined) return
      watched.set(node.id, { node, sinceMs: network.nowMs, state: 'left', seenMs: new Uint32Array(scenario.nodes + scenario.join) })
      network.leave(node)
    })
    spread(scenario.join, () => {
      const [seed] = draw(1)
      const node = network.join(seed!)
      byId.set(node.id, node)
      watched.set(node.id, { node, sinceMs: network.nowMs, state: 'alive', seenMs: new Uint32Array(scenario.nodes + scenario.join) })
    })
    spread(scenario.stop, () => {
      const [node] = draw(1)
      if (node === undefined) return
      stopped.add(node)
      network.block(node, scenario.stopSeconds * 1000)
    })
    if (scenario.partition > 0) partition()
  }

  function partition(): void {
    const size = Math.round(scenario.partition * scenario.nodes)
    const isInside = (node: SimNode): boolean => node.index < size
    network.at(WARM_UP_MS, () => {
      cutOff = true
      network.partition((a, b) => isInside(a) !== isInside(b))
    })
    network.at(WARM_UP_MS + scenario.partitionSeconds * 1000, () => {
      network.partition(null)
      healing(network.nowMs)
    })
  }

  /** Looks every second whether all see all alive. */
  function healing(sinceMs: number): void {
    const look = (): void => {
      const { wrong, suspicions } = views()
      if (wrong + suspicions > 0) {
        network.at(network.nowMs + 250, look)
        return
      }
      cutOff = false
      healed.push(network.nowMs - sinceMs)
    }
    look()
  }

  /** Lifeguard's interval experiment: without CPU for 128 ms to 8 s, then with it for 1 ms to 1 s. */
  function starve(node: SimNode): void {
    node.slow = true
    const endMs = WARM_UP_MS + scenario.slowSeconds * 1000
    const logUniform = (from: number, to: number): number => Math.round(from * (to / from) ** network.random())
    const cycle = (): void => {
      if (network.nowMs >= endMs || !node.running) return
      const blockedMs = Math.min(logUniform(128, 8192), endMs - network.nowMs)
      if (scenario.slowKind === 'cpu') network.block(node, blockedMs)
      else network.delay(node, blockedMs)
      network.at(network.nowMs + blockedMs + logUniform(1, 1024), cycle)
    }
    network.at(WARM_UP_MS, cycle)
  }

  /** Healthy nodes that nothing has happened to. */
  function draw(count: number): SimNode[] {
    const chosen = new Set<SimNode>()
    for (let tries = 0; chosen.size < count && tries < 100 * count; tries++) {
      const node = network.nodes[Math.floor(network.random() * network.nodes.length)]!
      if (isHealthy(node) && !stopped.has(node) && !watched.has(node.id)) chosen.add(node)
    }
    return [...chosen]
  }

  /** Of those whose tables have equal hashes one is looked at for all. */
  function views(): { wrong: number; suspicions: number } {
    const alike = new Map<string, { observer: SimNode; times: number }>()
    for (const observer of network.nodes) {
      if (!isHealthy(observer)) continue
      const hashes = observer.table.hashes(MAX_BUCKETS).join()
      const seen = alike.get(hashes)
      if (seen === undefined) alike.set(hashes, { observer, times: 1 })
      else seen.times++
    }
    const count = { wrong: 0, suspicions: 0 }
    for (const { observer, times } of alike.values()) {
      const view = viewOf(observer)
      count.wrong += times * view.wrong
      count.suspicions += times * view.suspicions
    }
    return count
  }

  function viewOf(observer: SimNode): { wrong: number; suspicions: number } {
    const count = { wrong: 0, suspicions: 0 }
    for (const subject of network.nodes) {
      const state = observer.table.get(subject.id)?.state
      if (subject.slow) continue
      const expected = subject.left ? 'left' : subject.running ? 'alive' : 'dead'
      if (expected === 'alive' && state === 'suspect') count.suspicions++
      // A newcomer may never have heard of what was gone before.
      else if (state !== expected && (expected === 'alive' || state !== undefined)) count.wrong++
    }
    return count
  }

  function outcome(): Outcome {
    const healthy = network.nodes.filter(isHealthy)
    const { wrong: wrongViews, suspicions } = views()
    const all = [...watched.values()]
    const known = (watch: Watched): number[] =>
      healthy.filter((node) => node !== watch.node && node.startedMs < watch.sinceMs).map((node) => (watch.seenMs[node.index] || Infinity) - watch.sinceMs)
    const last = (state: MemberState): number[] => all.filter((watch) => watch.state === state).map((watch) => Math.max(0, ...known(watch)))
    const kills = all.filter(({ state }) => state === 'dead')
    const seconds = (node: SimNode): number => Math.max(1, (Math.min(network.nowMs, node.endedMs) - node.startedMs) / 1000)
    const sum = (value: (node: SimNode) => number): number => healthy.reduce((total, node) => total + value(node), 0)
    return {
      detectedMs: kills.map((watch) => Math.min(...known(watch))),
      knownMs: kills.flatMap(known),
      allKnowMs: last('dead'),
      joinKnownMs: last('alive'),
      leaveKnownMs: last('left'),
      falseDeaths: wrong.falseDeaths,
      stoppedDeaths: wrong.stoppedDeaths.size,
      stoppedSuspected: wrong.stoppedSuspected.size,
      healedMs: scenario.partition > 0 && healed.length === 0 ? [Infinity] : healed,
      wrongViews,
      suspicions,
      messagesPerNodeSecond: sum(({ sentMessages }) => sentMessages) / sum(seconds),
      bytesPerNodeSecond: sum(({ sentBytes }) => sentBytes) / sum(seconds),
      maxBytesPerNodeSecond: Math.max(...healthy.map((node) => node.sentBytes / seconds(node))),
      nodeSeconds: network.nodes.reduce((total, node) => total + seconds(node), 0),
      traffic: network.sent.traffic,
    }
  }
}

const isHealthy = (node: SimNode): boolean => node.running && !node.slow && !node.left
