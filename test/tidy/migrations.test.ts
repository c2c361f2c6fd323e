/** Migrations are applied in the order of their numbers: two of one number, or a gap, would be a database that nobody has. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { root } from './sources.ts'

for (const set of ['global', 'regional']) {
  test(`the ${set} migrations are numbered from 1 on, each number once`, () => {
    const names = readdirSync(path.join(root, 'migrations', set)).sort()
    assert.deepEqual(names.map((name) => name.slice(0, 5)), names.map((_, i) => `${String(i + 1).padStart(4, '0')}_`))
  })
}
