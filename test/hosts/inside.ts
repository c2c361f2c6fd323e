/** Plays the scenarios, in the network of host A: started by main.ts, which removes what is left. */
import { type Kind, scenarios } from './scenarios/index.ts'
import { runInNetworkOf } from './podman.ts'
import { playScenario, type Tally } from './steps.ts'

const [owner = '', folder = '', kind = '', ...wanted] = process.argv.slice(2)
const all = scenarios[kind as Kind]
const chosen = all.filter(({ title }) => wanted.length === 0 || wanted.some((part) => title.toLowerCase().includes(part.toLowerCase())))
process.once('SIGTERM', () => process.exit(143)).once('SIGINT', () => process.exit(130))

runInNetworkOf(Number(owner))
const tally: Tally = { passed: 0, failed: 0 }
for (const scenario of chosen) await playScenario(tally, scenario, { owner: Number(owner), folder })
console.log(`\n${tally.passed} passed, ${tally.failed} failed, 0 skipped`)
process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1)
