/** Runs one long command with a line of progress now and then; its output goes to a log, shown when it fails. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { SetupFailure } from './failure.mjs'
import { root, setupDir } from './paths.mjs'

const HEARTBEAT_MS = 10_000
const SHOWN_LOG_BYTES = 16 * 1024
const SHOWN_LINE_CHARS = 100

/** Children that a signal to the setup must reach. */
const running = new Set()

export function say(line) {
  process.stderr.write(`anvil: ${line}\n`)
}

export function stopChildren(signal) {
  for (const child of running) child.kill(signal)
}

/**
 * @param {string} name names the log
 * @param {string} title what the person reads
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
export async function runStep(name, title, command, args, env = environment()) {
  fs.mkdirSync(setupDir, { recursive: true })
  const logFile = path.join(setupDir, `${name}.log`)
  const log = fs.openSync(logFile, 'w')
  const startedMs = Date.now()
  say(`${title} …`)
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', log, log] })
  fs.closeSync(log)
  running.add(child)
  const heartbeat = setInterval(() => {
    const last = tail(logFile, 4096).trimEnd().split(/[\r\n]/).at(-1)?.trim() ?? ''
    say(`  ${Math.round((Date.now() - startedMs) / 1000)} s: ${last.slice(0, SHOWN_LINE_CHARS)}`)
  }, HEARTBEAT_MS)
  let outcome
  try {
    outcome = await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve({ code, signal }))
    })
  } finally {
    clearInterval(heartbeat)
    running.delete(child)
  }
  if (outcome.code !== 0) {
    const how = outcome.signal === null ? `exit code ${outcome.code}` : outcome.signal
    process.stderr.write(tail(logFile, SHOWN_LOG_BYTES))
    throw new SetupFailure(`${title} failed (${how}); the whole output is in ${path.relative(root, logFile)}`)
  }
  say(`${title}: done in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`)
}

/** The environment of build commands: our own node_modules/.bin off PATH (npm replaces it), a fresh rustup's cargo on it. */
export function environment() {
  const entries = (process.env.PATH ?? '').split(path.delimiter)
  const kept = entries.filter((entry) => !entry.startsWith(path.join(root, 'node_modules')))
  const cargoBin = path.join(process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo'), 'bin')
  if (!kept.includes(cargoBin) && fs.existsSync(cargoBin)) kept.push(cargoBin)
  return { ...process.env, PATH: kept.join(path.delimiter) }
}

function tail(file, bytes) {
  const fd = fs.openSync(file, 'r')
  try {
    const { size } = fs.fstatSync(fd)
    const start = Math.max(0, size - bytes)
    const buffer = Buffer.alloc(size - start)
    const read = fs.readSync(fd, buffer, 0, buffer.length, start)
    return buffer.toString('utf8', 0, read)
  } finally {
    fs.closeSync(fd)
  }
}
