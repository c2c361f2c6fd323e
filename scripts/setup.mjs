#!/usr/bin/env node
/**
 * Makes a checkout ready to run: npm packages, Node 24, the embedded Postgres, uWebSockets.js, the Rust addon. Runs on the
 * system's Node with no node_modules. Each step looks at content, so a second run finds nothing to do within moments.
 */
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { addon } from './setup/addon.mjs'
import { dependencies } from './setup/dependencies.mjs'
import { SetupFailure } from './setup/failure.mjs'
import { takeLock } from './setup/lock.mjs'
import { node24OnPath } from './setup/node24.mjs'
import { postgresLibraries } from './setup/postgres.mjs'
import { checkCompilers, checkHost } from './setup/prerequisites.mjs'
import { say, stopChildren } from './setup/run.mjs'
import { uws } from './setup/uws.mjs'

const steps = [dependencies, node24OnPath, postgresLibraries, uws, addon]
const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }

/** Resolves when everything is in place; a SetupFailure says what the person must do. */
export async function setup() {
  checkHost()
  if (!steps.some((step) => step.needed())) return
  const giveUp = Object.keys(signalNumbers).map((signal) => [signal, () => stop(signal)])
  for (const [signal, listener] of giveUp) process.on(signal, listener)
  const release = await takeLock()
  try {
    const waiting = steps.filter((step) => step.needed())
    // Named before the first long step, so that nobody waits for npm to be told that Rust is missing.
    if (waiting.some((step) => step.compiles)) checkCompilers()
    for (const step of steps) if (step.needed()) await step.run()
  } finally {
    release()
    for (const [signal, listener] of giveUp) process.off(signal, listener)
  }
}

/** Runs `main`; a failure that is the machine's is one message, one that is ours shows its stack. */
export async function reportingFailure(main) {
  try {
    await main()
  } catch (error) {
    if (!(error instanceof SetupFailure)) throw error
    say(error.message)
    process.exitCode = 1
  }
}

function stop(signal) {
  stopChildren('SIGTERM')
  process.exit(128 + signalNumbers[signal])
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await reportingFailure(setup)
