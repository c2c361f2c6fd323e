#!/usr/bin/env node
/** `npm test`: sets the checkout up where needed, then runs test/support/run-tests.ts under Node 24. */
import path from 'node:path'
import { becomeNode24 } from './setup/become.mjs'
import { root } from './setup/paths.mjs'
import { reportingFailure, setup } from './setup.mjs'

await reportingFailure(async () => {
  await setup()
  await becomeNode24([path.join(root, 'test', 'support', 'run-tests.ts'), ...process.argv.slice(2)])
})
