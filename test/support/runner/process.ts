/** Child processes of the test run. Each leads a group of its own, so that what it started can be stopped with it. */
import { type ChildProcess, spawn } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'

export const root = path.resolve(import.meta.dirname, '../../..')

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  /** stdout and stderr as they came. */
  output: string
  /** Processes of its group that outlived it (stopped by now). */
  leftOver: boolean
}

interface Options {
  env?: NodeJS.ProcessEnv
  /** Lines the child writes to its descriptor 3. */
  onEvent?: (line: string) => void
  onStart?: (child: ChildProcess) => void
}

const leaders = new Set<number>()

export async function run(command: string, args: string[], { env = environment(), onEvent, onStart }: Options = {}): Promise<Finished> {
  const child = spawn(command, args, { cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe', onEvent ? 'pipe' : 'ignore'] })
  const chunks: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => chunks.push(chunk))
  if (onEvent) byLine(child.stdio[3] as NodeJS.ReadableStream, onEvent)
  const { pid } = child
  if (pid !== undefined) leaders.add(pid)
  onStart?.(child)
  const { promise, resolve, reject } = Promise.withResolvers<Finished>()
  let leftOver = false
  child.once('error', reject)
  child.once('exit', () => {
    if (pid === undefined) return
    leftOver = killGroup(pid)
    leaders.delete(pid)
  })
  child.once('close', (code, signal) => resolve({ code, signal, output: Buffer.concat(chunks).toString(), leftOver }))
  return promise
}

/** SIGKILL to a whole group; false if nothing of it lived. */
export function killGroup(leader: number): boolean {
  try {
    process.kill(-leader, 'SIGKILL')
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

export function stopEverything(): void {
  for (const leader of leaders) killGroup(leader)
}

/** With a fresh rustup's cargo on PATH, as the setup does. */
function environment(): NodeJS.ProcessEnv {
  const cargoBin = path.join(process.env['CARGO_HOME'] ?? path.join(os.homedir(), '.cargo'), 'bin')
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}${path.delimiter}${cargoBin}` }
}

function byLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  })
}
