/**
 * `npm run sim`: the gossip core in simulated time, deterministic by seed. docs/gossip.md has the figures.
 *
 *   npm run sim -- --nodes 100 --seeds 100 --kill 3
 *   npm run sim -- --nodes 100 --seeds 100 --slow 0.1 --seconds 70
 *   npm run sim -- --nodes 100 --seeds 100 --loss 0.3 --join 3 --kill 1
 *   npm run sim -- --nodes 100 --seeds 100 --partition 0.5 --seconds 180
 *   npm run sim -- --nodes 10000 --join 10 --kill 10 --seconds 60
 */
import { parseArgs } from 'node:util'
import { printReport, summarize } from './report.ts'
import { type Outcome, play, type Scenario } from './scenario.ts'

const numbers = {
  /** @default 100 */
  nodes: '100',
  seed: '1',
  /** So many seeds from `seed` on. */
  seeds: '1',
  seconds: '60',
  loss: '0',
  slow: '0',
  'slow-seconds': '60',
  kill: '0',
  join: '0',
  leave: '0',
  stop: '0',
  'stop-seconds': '3',
  partition: '0',
  'partition-seconds': '60',
}

const { values } = parseArgs({
  options: Object.fromEntries(Object.entries({ ...numbers, 'slow-kind': 'cpu' }).map(([name, value]) => [name, { type: 'string' as const, default: value }])),
})

function option(name: keyof typeof numbers): number {
  const value = Number(values[name])
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} takes a number`)
  return value
}

function slowKind(): Scenario['slowKind'] {
  const kind = values['slow-kind']
  if (kind !== 'cpu' && kind !== 'io') throw new Error('--slow-kind is cpu or io')
  return kind
}

const scenario: Omit<Scenario, 'seed'> = {
  nodes: option('nodes'),
  seconds: option('seconds'),
  loss: option('loss'),
  slow: option('slow'),
  slowSeconds: option('slow-seconds'),
  slowKind: slowKind(),
  kill: option('kill'),
  join: option('join'),
  leave: option('leave'),
  stop: option('stop'),
  stopSeconds: option('stop-seconds'),
  partition: option('partition'),
  partitionSeconds: option('partition-seconds'),
}

const started = performance.now()
const outcomes: { seed: number; outcome: Outcome }[] = []
for (let seed = option('seed'); outcomes.length < option('seeds'); seed++) outcomes.push({ seed, outcome: play({ ...scenario, seed }) })
printReport(summarize(outcomes), (performance.now() - started) / 1000)
