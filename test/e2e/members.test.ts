/** Five members in processes of their own; `npm run test:members` is the same with twenty. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { playMembers } from '../members/scenario.ts'

test('members find each other, outlive a pause, notice a death and a goodbye, and refuse strangers', { timeout: 300_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'anvil-members-'))
  await playMembers({ members: 5, lossy: 1, dir, say: (line) => t.diagnostic(line) })
  rmSync(dir, { recursive: true })
})
