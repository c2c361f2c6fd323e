/** Many seeds' outcomes in a few figures. */
import type { Outcome } from './scenario.ts'
import { addUp, type Count, type Traffic } from './traffic.ts'

interface Spread {
  count: number
  p50: number
  p99: number
  max: number
}

export interface Summary {
  seeds: number
  detectedMs: Spread
  knownMs: Spread
  allKnowMs: Spread
  joinKnownMs: Spread
  leaveKnownMs: Spread
  healedMs: Spread
  falseDeaths: number
  stoppedDeaths: number
  stoppedSuspected: number
  wrongViews: number
  suspicions: number
  /** To play again: something is not as it should be. */
  badSeeds: number[]
  messagesPerNodeSecond: number
  bytesPerNodeSecond: number
  maxBytesPerNodeSecond: number
  nodeSeconds: number
  traffic: Traffic
}

export function summarize(runs: readonly { seed: number; outcome: Outcome }[]): Summary {
  const outcomes = runs.map(({ outcome }) => outcome)
  const spreadOf = (pick: (outcome: Outcome) => number[]): Spread => spread(outcomes.flatMap(pick))
  const total = (pick: (outcome: Outcome) => number): number => outcomes.reduce((sum, outcome) => sum + pick(outcome), 0)
  return {
    seeds: runs.length,
    detectedMs: spreadOf(({ detectedMs }) => detectedMs),
    knownMs: spreadOf(({ knownMs }) => knownMs),
    allKnowMs: spreadOf(({ allKnowMs }) => allKnowMs),
    joinKnownMs: spreadOf(({ joinKnownMs }) => joinKnownMs),
    leaveKnownMs: spreadOf(({ leaveKnownMs }) => leaveKnownMs),
    healedMs: spreadOf(({ healedMs }) => healedMs),
    falseDeaths: total(({ falseDeaths }) => falseDeaths),
    stoppedDeaths: total(({ stoppedDeaths }) => stoppedDeaths),
    stoppedSuspected: total(({ stoppedSuspected }) => stoppedSuspected),
    wrongViews: total(({ wrongViews }) => wrongViews),
    suspicions: total(({ suspicions }) => suspicions),
    badSeeds: runs.filter(({ outcome }) => outcome.falseDeaths > 0 || outcome.stoppedDeaths > 0 || outcome.wrongViews > 0 || outcome.healedMs.includes(Infinity)).map(({ seed }) => seed),
    messagesPerNodeSecond: total(({ messagesPerNodeSecond }) => messagesPerNodeSecond) / runs.length,
    bytesPerNodeSecond: total(({ bytesPerNodeSecond }) => bytesPerNodeSecond) / runs.length,
    maxBytesPerNodeSecond: Math.max(...outcomes.map(({ maxBytesPerNodeSecond }) => maxBytesPerNodeSecond)),
    nodeSeconds: total(({ nodeSeconds }) => nodeSeconds),
    traffic: addUp(outcomes.map(({ traffic }) => traffic)),
  }
}

export function printReport(summary: Summary, tookSeconds: number): void {
  const line = (name: string, text: string): void => console.log(`${name.padEnd(34)}${text}`)
  const times = (name: string, { count, p50, p99, max }: Spread): void => {
    if (count > 0) line(name, `p50 ${seconds(p50)}  p99 ${seconds(p99)}  max ${seconds(max)}  (${count})`)
  }
  line('seeds', `${summary.seeds} in ${tookSeconds.toFixed(1)} s`)
  times('death detected by the first', summary.detectedMs)
  times('death known, each observer', summary.knownMs)
  times('death known to all', summary.allKnowMs)
  times('join known to all', summary.joinKnownMs)
  times('leave known to all', summary.leaveKnownMs)
  times('partition healed', summary.healedMs)
  line('false positives', `${summary.falseDeaths} (healthy nodes held for dead by healthy ones)`)
  if (summary.stoppedSuspected > 0) line('stopped for a while', `${summary.stoppedSuspected} suspected, ${summary.stoppedDeaths} held for dead`)
  line('wrong views at the end', `${summary.wrongViews}, and ${summary.suspicions} momentary suspicions`)
  if (summary.badSeeds.length > 0) line('seeds to look at', summary.badSeeds.join(' '))
  line('sent per node and second', `${summary.messagesPerNodeSecond.toFixed(2)} messages, ${summary.bytesPerNodeSecond.toFixed(0)} bytes (busiest node: ${summary.maxBytesPerNodeSecond.toFixed(0)} bytes)`)
  const counts = (name: string, { count, bytes }: Count): void => {
    const each = [count, bytes].map((value) => (value / summary.nodeSeconds).toFixed(2).padStart(9)).join('')
    line(`  ${name}`, each)
  }
  line('  by message, without news', '   number    bytes, per node and second')
  for (const [kind, count] of Object.entries(summary.traffic.messages)) counts(kind, count)
  line('  news on them', '')
  for (const [kind, count] of Object.entries(summary.traffic.news)) counts(kind, count)
}

function spread(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}

const seconds = (ms: number): string => (ms === Infinity ? 'never' : `${(ms / 1000).toFixed(1)} s`)
