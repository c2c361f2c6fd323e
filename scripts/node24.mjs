#!/usr/bin/env node
/** `node scripts/node24.mjs FILE ARGS…`: any program of the checkout under Node 24, set up where needed. */
import path from 'node:path'
import { becomeNode24 } from './setup/become.mjs'
import { root } from './setup/paths.mjs'
import { reportingFailure, setup } from './setup.mjs'

await reportingFailure(async () => {
  const [program, ...args] = process.argv.slice(2)
  await setup()
  await becomeNode24([path.resolve(root, program), ...args])
})
