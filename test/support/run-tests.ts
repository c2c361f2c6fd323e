/**
 * The whole of `npm test`. Arguments: names of stages, and parts of file names that narrow the stages of node:test files
 * (`npm test -- unit`, `npm test -- listing.test`). The last line is `N passed, N failed, N skipped`.
 */
import { stopEverything } from './runner/process.ts'
import { stages } from './runner/stages.ts'
import { type Counts, noCounts, plus } from './runner/counts.ts'

const args = process.argv.slice(2)
const named = stages.filter(({ name }) => args.includes(name))
const fileParts = args.filter((arg) => !stages.some(({ name }) => name === arg))
const chosen = named.length > 0 ? named : stages.filter(({ takesFiles }) => fileParts.length === 0 || takesFiles)

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    stopEverything()
    process.exit(1)
  })
}

let total: Counts = { ...noCounts }
for (const stage of chosen) {
  const startedMs = performance.now()
  const counts = await stage.run(fileParts)
  if (isEmpty(counts)) {
    if (fileParts.length > 0) continue
    console.log(`✖ ${stage.name}: no test ran`)
    counts.failed++
  }
  console.log(`${counts.failed > 0 ? '✖' : '✔'} ${stage.name}: ${summary(counts)} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)`)
  total = plus(total, counts)
}
if (isEmpty(total)) {
  console.log(`no test matches ${args.join(' ')}`)
  total.failed++
}
console.log(summary(total))
process.exit(total.failed > 0 ? 1 : 0)

function isEmpty({ passed, failed, skipped }: Counts): boolean {
  return passed + failed + skipped === 0
}

function summary({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}
