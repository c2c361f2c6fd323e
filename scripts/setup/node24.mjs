/** `node` in npm scripts and in the tools' `#!/usr/bin/env node` must be the locked Node 24, also without install scripts. */
import fs from 'node:fs'
import path from 'node:path'
import { modulesDir, node24 } from './paths.mjs'

const onPath = path.join(modulesDir, '.bin', 'node')

export const node24OnPath = {
  needed() {
    return !fs.existsSync(onPath)
  },
  async run() {
    fs.mkdirSync(path.dirname(onPath), { recursive: true })
    fs.rmSync(onPath, { force: true }) // a dangling link to what an install script would have made
    fs.symlinkSync(path.relative(path.dirname(onPath), node24), onPath)
  },
}
