/** Programs of the system that the tests on hosts run, each to its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

export interface RunOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  /** @default 2 minutes */
  timeoutMs?: number
  /** Everything the program says goes to this file too, as it comes. */
  logFile?: string
}

export interface Outcome {
  /** null where a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}

const running = new Set<ChildProcess>()

const TIMEOUT_MS = 120_000
const SHOWN_CHARS = 4000
const SHOWN_ARGUMENTS_CHARS = 500

/** Resolves with what the program wrote to stdout. @throws Error with the end of all it said, when it fails */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await outcomeOf(program, args, options)
  if (code === 0) return stdout
  throw new Error(`${program} ${args.join(' ').slice(0, SHOWN_ARGUMENTS_CHARS)}: exit code ${code}\n${(stdout + stderr).slice(-SHOWN_CHARS)}`)
}

/** The same for programs whose failure is an answer. */
export async function outcomeOf(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
  const { cwd, env, timeoutMs = TIMEOUT_MS, logFile } = options
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' })
  running.add(child)
  const log = logFile === undefined ? null : fs.openSync(logFile, 'a')
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (log !== null) fs.writeSync(log, text)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    if (log !== null) fs.writeSync(log, text)
  })
  child.once('error', (error) => {
    running.delete(child)
    reject(error)
  })
  child.once('close', (code, signal) => {
    running.delete(child)
    if (log !== null) fs.closeSync(log)
    if (signal !== null) stderr += `\nended by ${signal}${signal === 'SIGKILL' ? ` (after ${timeoutMs} ms?)` : ''}\n`
    resolve({ code, stdout, stderr })
  })
  return promise
}

/** What runs now ends, and its caller gets the error. */
export function stopCommands(): void {
  for (const child of running) child.kill('SIGTERM')
}

/** Whether a program of this name is on PATH. */
export function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(path.delimiter).some((folder) => folder !== '' && isExecutable(path.join(folder, program)))
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false // not there, or not to be run by us: for the search the same
  }
}
