/**
 * `npm run bench`: signed PUT and GET against one node on the embedded default, over a matrix of worker counts, sizes and
 * connections. Prints every figure, says which counts to use here, and writes JSON and docs/benchmark.md.
 *
 *   npm run bench                          the whole matrix
 *   npm run bench -- --quick               one short case of each kind, writes nothing
 *   npm run bench -- --peer versitygw      another server in the same run (also: minio); may be given more than once
 *   npm run bench -- --workers 1,2,4       instead of 1, 2, 4 … up to the number of cores
 *   npm run bench -- --drives 6            drives of the node
 *   npm run bench -- --sizes 4096,65536    only these sizes
 *   npm run bench -- --seconds 2          measured time of each case
 *   npm run bench -- --json FILE           where the JSON goes (default: out/bench.json)
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startAnvil, type AnvilSettings } from './anvil-target.ts'
import { casesOf, FULL, QUICK, sizeName, type Plan } from './cases.ts'
import { createBucket, fill, measure, type Measurement } from './measure.ts'
import { PEERS, startPeer } from './peers.ts'
import { failuresOf, machine, markdown, ranking, textTable, throughput, type Report } from './report.ts'
import type { Target } from './target.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    peer: { type: 'string', multiple: true, default: [] },
    workers: { type: 'string' },
    drives: { type: 'string', default: '1' },
    sizes: { type: 'string' },
    seconds: { type: 'string' },
    json: { type: 'string', default: join(ROOT, 'out', 'bench.json') },
  },
})

/** 1, 2, 4 … and the number of cores itself. */
function workerCounts(): number[] {
  if (options.workers !== undefined) return options.workers.split(',').map(Number)
  const cores = availableParallelism()
  const counts = [cores]
  for (let count = 1; count < cores; count *= 2) counts.push(count)
  return options.quick ? [cores] : counts.sort((a, b) => a - b)
}

function plan(): Plan {
  const chosen = options.quick ? QUICK : FULL
  const whole = options.seconds === undefined ? chosen : { ...chosen, measureMs: Number(options.seconds) * 1000 }
  if (options.sizes === undefined) return whole
  const wanted = new Set(options.sizes.split(',').map(Number))
  return { ...whole, sizes: whole.sizes.filter(({ sizeBytes }) => wanted.has(sizeBytes)) }
}

async function runTarget(target: Target, into: Measurement[]): Promise<void> {
  const chosen = plan()
  process.stdout.write(`\n${target.name}\n`)
  await createBucket(target)
  const filled = new Set<number>()
  const mine: Measurement[] = []
  for (const one of casesOf(chosen)) {
    if (one.operation === 'GET' && !filled.has(one.sizeBytes)) {
      await fill(target, one.sizeBytes, one.objects)
      filled.add(one.sizeBytes)
    }
    const measured = await measure(target, one, one.objects, chosen)
    process.stdout.write(`  ${one.operation} ${sizeName(one.sizeBytes)} x ${one.connections}: ${throughput(measured).toFixed(1)} MB/s, failed ${failuresOf(measured)}\n`)
    mine.push(measured)
  }
  process.stdout.write(`${textTable(mine)}\n`)
  into.push(...mine)
}

async function withTarget(start: Promise<Target>, into: Measurement[]): Promise<void> {
  const target = await start
  try {
    await runTarget(target, into)
  } finally {
    await target.stop()
  }
}

// an interrupted run leaves no server behind: what was started is ended on `exit`
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

const startedMs = Date.now()
const host = machine()
const matrix: Measurement[] = []
const others: Measurement[] = []
const drives = Number(options.drives)
for (const workers of workerCounts()) await withTarget(startAnvil({ workers, gatewayThreads: null, drives }), matrix)
if (!options.quick) {
  // the gateways' side of the question, with as many workers as cores
  for (const gatewayThreads of [0, 1]) await withTarget(startAnvil({ workers: availableParallelism(), gatewayThreads, drives } satisfies AnvilSettings), matrix)
}
for (const peer of options.peer) await withTarget(startPeer(peer), others)

const ranks = ranking(matrix)
process.stdout.write(`\nOn this host use: ${ranks[0]!.target}\n`)
for (const { target, score } of ranks) process.stdout.write(`  ${(score * 100).toFixed(0).padStart(3)} %  ${target}\n`)
process.stdout.write(`${Math.round((Date.now() - startedMs) / 1000)} s\n`)

const report: Report = {
  machine: host,
  command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
  date: new Date().toISOString().slice(0, 10),
  commit: spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).stdout.trim(),
  measurements: [...matrix, ...others],
  ranking: ranks,
  notes: options.peer.map((peer) => `${peer}: ${PEERS[peer]!.note}.`),
}
mkdirSync(dirname(options.json), { recursive: true })
writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`)
if (!options.quick) writeFileSync(join(ROOT, 'docs', 'benchmark.md'), markdown(report))
if ([...matrix, ...others].some((one) => Object.keys(one.failures).length > 0)) {
  process.stdout.write('Some requests failed: see the last column.\n')
  process.exitCode = 1
}
