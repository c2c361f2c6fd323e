/** A whole run: a cluster, a load, faults from the seed, and at the end the account of all that was acknowledged. */
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { setTimeout as sleep } from 'node:timers/promises'
import { TestCluster } from '../support/cluster.ts'
import { startPostgres } from '../support/postgres.ts'
import { BUCKET, CheckedStore } from './checked.ts'
import { Deck } from './deck.ts'
import { checkEnding } from './ending.ts'
import { driveFaults, mountSmallDrive, unmountSmallDrive } from './faults/drives.ts'
import type { Fault, Planned } from './faults/fault.ts'
import { networkFaults } from './faults/network.ts'
import { postgresFaults } from './faults/postgres.ts'
import { processFaults } from './faults/processes.ts'
import { Findings } from './findings.ts'
import { MemoryWatch, readLogs } from './health.ts'
import type { ChaosNetwork } from './network.ts'
import { Random } from './random.ts'
import { Stage } from './stage.ts'
import { isFailure, type Outcome, Weather } from './weather.ts'
import { Workload } from './workload.ts'

export interface CampaignOptions {
  seed: number
  minutes: number
  nodes: number
  perSecond: number
  /** Names of the faults that may come. Empty: all. */
  faults: readonly string[]
  network: ChaosNetwork | null
}

const MIB = 1024 * 1024
const SMALL_DRIVE_BYTES = 1536 * MIB
/** ANVIL_MEMORY_LIMIT of the test's nodes, and what the README says the process needs beside it; some for the load of many at once. */
const MEMORY_BOUND_BYTES = (64 + 320 + 64) * MIB
/** Faults at one time. */
const MAX_FAULTS = 2
/** Background work that waits for hours in production, at once. */
const PACES = { ANVIL_ORPHAN_AGE_SECS: '5', ANVIL_REPAIR_DELAY_SECS: '2', ANVIL_SCRUB_PERIOD_SECS: '300' }
const HURRY_MS = 7000
const CHECK_MS = 60_000
/** Others keep the machine busy. */
const START_MS = 180_000
const RECOVERY_MS = 2000
const SLOW_MS = 2000

/** Answers how many findings there were. */
export async function runCampaign(options: CampaignOptions): Promise<number> {
  const { seed, network } = options
  const beganMs = performance.now()
  const findings = new Findings(beganMs)
  const weather = new Weather()
  const { cluster, globalDatabase, smallDrive } = await startCluster(options)
  const store = new CheckedStore(cluster.nodes, findings, weather)
  const stage = new Stage({ cluster, globalDatabase, store, findings, weather, network, smallDrive })
  const memory = new MemoryWatch(cluster.nodes, MEMORY_BOUND_BYTES, findings)
  const timers: NodeJS.Timeout[] = []
  try {
    await cluster.first.s3().send(new CreateBucketCommand({ Bucket: BUCKET }))
    const load = new Workload({ store, random: new Random(seed * 7919 + 1), perSecond: options.perSecond, targets: () => stage.targets })
    timers.push(setInterval(() => void stage.hurry(), HURRY_MS), setInterval(() => store.checkHistories(beganMs), CHECK_MS))
    const losers = await playFaults(options, stage, beganMs)
    console.log(`${at(beganMs)} the faults are over; the load goes on for a while`)
    await sleep(30_000)
    await load.stop()
    await checkEnding(stage, store)
    store.checkHistories(beganMs)
    const errors = readLogs(cluster.nodes, findings)
    const failed = weather.outcomes.filter(isFailure).length
    console.log([
      '', `seed ${seed}, ${options.minutes} minutes, ${options.nodes} nodes${network === null ? ' on loopback' : ''}`,
      `${weather.outcomes.length} requests, ${failed} of them refused or unanswered; ${load.skipped} not begun; ${store.values.count} values of ${store.histories.size} keys`,
      ...Object.entries(store.counts).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([what, count]) => `  ${count} × ${what}`),
      `resident at most, MiB: ${memory.stop()}`,
      ...(errors.length > 0 ? ['errors in the logs:', ...errors.map((line) => `  ${line}`)] : []),
      ...(losers.length > 0 ? ['slow to recover:', ...losers.map((line) => `  ${line}`)] : []),
      findings.total === 0 ? 'no findings' : `${findings.total} findings:`, ...findings.lines.map((line) => `  ✖ ${line}`),
    ].join('\n'))
    return findings.total
  } finally {
    timers.forEach((timer) => clearInterval(timer))
    memory.stop()
    stage.close()
    if (smallDrive !== null) await unmount(cluster, smallDrive)
    await cluster.dispose()
    await globalDatabase.stop()
  }
}

async function startCluster({ nodes, network }: CampaignOptions): Promise<Pick<Stage, 'cluster' | 'globalDatabase' | 'smallDrive'>> {
  // of its own: what happens to the one server is nothing to the other
  const globalDatabase = await startPostgres()
  let cluster: TestCluster | null = null
  let smallDrive: number | null = null
  try {
    await globalDatabase.database('anvil_global')
    cluster = await TestCluster.created({
      nodes, nextHost: network?.places(), env: PACES, envOf: (index) => (index === 1 ? { ANVIL_GATEWAY_THREADS: '1' } : undefined),
      globalDatabaseUrl: globalDatabase.url.replace('/postgres?', '/anvil_global?'),
    })
    await cluster.prepare(['--init-cluster'])
    while (cluster.nodes.length < nodes) await cluster.prepare()
    if (process.getuid?.() === 0 && (await mountSmallDrive(cluster.nodes.at(-1)!, SMALL_DRIVE_BYTES))) smallDrive = nodes - 1
    for (const node of cluster.nodes) {
      node.launch()
      await node.untilReady(START_MS)
    }
    await cluster.untilWhole(cluster.nodes, START_MS)
    return { cluster, globalDatabase, smallDrive }
  } catch (error) {
    if (cluster !== null && smallDrive !== null) await unmount(cluster, smallDrive)
    await cluster?.dispose()
    await globalDatabase.stop()
    throw error
  }
}

async function unmount(cluster: TestCluster, smallDrive: number): Promise<void> {
  const node = cluster.node(smallDrive)
  if (node.running) {
    node.signal('SIGCONT')
    await node.kill()
  }
  await unmountSmallDrive(node)
}

/** One after the other, sometimes two at once. Answers those after which requests were slow to go on. */
async function playFaults({ seed, minutes, faults }: CampaignOptions, stage: Stage, beganMs: number): Promise<string[]> {
  const endMs = performance.now() + minutes * 60_000
  const losers: string[] = []
  const running = new Set<Promise<void>>()
  const known = [...processFaults, ...postgresFaults, ...networkFaults, ...driveFaults]
    .filter((fault) => (fault.possible?.(stage) ?? true) && (faults.length === 0 || faults.some((name) => fault.name.includes(name))))
  console.log(`faults: ${known.map(({ name }) => name).join(', ')}`)
  await sleep(3000)
  const deck = new Deck(known, seed)
  for (let turn = 0; performance.now() < endMs; turn++) {
    // of its own seed: what was drawn before, and how long it took, changes nothing
    const random = new Random(seed * 100_003 + turn)
    const fault = deck.next(turn, random)
    const pauseMs = random.between(500, 8000)
    const together = random.chance(0.35)
    if (fault.alone === true && !(await untilAlone(stage, running))) continue
    const planned = fault.draw(stage, random)
    if (planned === null) continue
    deck.played(fault)
    const one: Promise<void> = play(stage, fault, planned, beganMs, losers).finally(() => running.delete(one))
    running.add(one)
    if (fault.alone === true || !together || running.size >= MAX_FAULTS) await Promise.all(running)
    await sleep(pauseMs)
  }
  // the campaign was too short for them
  for (const [i, fault] of [...deck.owed].entries()) {
    await Promise.all(running)
    const planned = fault.alone !== true || (await untilAlone(stage, running)) ? fault.draw(stage, new Random(seed * 100_003 - 2 - i)) : null
    if (planned !== null) await play(stage, fault, planned, beganMs, losers)
  }
  await Promise.all(running)
  return losers
}

/** No other fault is at work, and everything is at full redundancy. */
async function untilAlone(stage: Stage, running: ReadonlySet<Promise<void>>): Promise<boolean> {
  await Promise.all(running)
  try {
    await stage.untilWhole()
    return true
  } catch (error) {
    stage.findings.add('full redundancy does not come back', (error as Error).message.slice(0, 3000))
    return false
  }
}

async function play({ weather, findings, taken }: Stage, fault: Fault, planned: Planned, beganMs: number, losers: string[]): Promise<void> {
  const began = at(beganMs)
  const fromMs = performance.now()
  weather.begins(planned.text)
  planned.nodes.forEach((i) => taken.add(i))
  const { begun } = weather
  const alone = weather.running === 1
  let said: string | void = undefined
  try {
    said = await planned.play()
  } catch (error) {
    findings.add(`a fault that did not go as planned: ${fault.name}`, (error as Error).message.slice(0, 3000))
  }
  weather.ends(planned.text)
  planned.nodes.forEach((i) => taken.delete(i))
  const measured = planned.survivable && alone && weather.begun === begun
  const trouble = measured ? weather.trouble(fromMs, performance.now(), (node) => !planned.nodes.includes(node), SLOW_MS) : { failed: [], slow: [] }
  const lastMs = Math.max(0, ...trouble.failed.map((one) => one.beganMs - fromMs))
  const line = `${began}–${at(beganMs)} ${fault.name}: ${planned.text}${said === undefined ? '' : `; ${said}`}${measured ? `; through others ${toldOf(trouble.failed, fromMs, 'failed')}, ${toldOf(trouble.slow, fromMs, 'slow')}` : ''}`
  if (lastMs > RECOVERY_MS) losers.push(line)
  console.log(line)
}

/** How many, and when the last of them began. */
function toldOf(outcomes: readonly Outcome[], fromMs: number, what: string): string {
  const last = outcomes.at(-1)
  return last === undefined ? `0 ${what}` : `${outcomes.length} ${what} (the last, ${last.what} ${last.status} ${last.code}, began ${Math.round(last.beganMs - fromMs)} ms after and took ${Math.round(last.tookMs)} ms)`
}

const at = (beganMs: number): string => `${((performance.now() - beganMs) / 1000).toFixed(1)} s`
