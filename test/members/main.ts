/** `npm run test:members [-- NUMBER]`: the members' scenario with twenty processes. Logs stay where it says. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { playMembers } from './scenario.ts'

const members = Number(process.argv[2] ?? 20)
if (!Number.isSafeInteger(members) || members < 4 || members > 200) {
  console.error(`the number of members is ${process.argv[2]}, must be 4 to 200`)
  process.exit(2)
}
const dir = mkdtempSync(join(tmpdir(), 'anvil-members-'))
console.log(`logs are in ${dir}`)
await playMembers({ members, lossy: Math.floor(members / 4), dir, say: (line) => console.log(line) })
console.log('passed')
process.exit(0)
