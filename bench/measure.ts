/** Runs one case against one target. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { signedRequest } from '../test/support/raw-http.ts'
import { s3Path } from '../test/support/sigv4.ts'
import { sizeName, timesOf, type Case, type Plan } from './cases.ts'
import { peakMemoryBytes, resetPeakMemory } from './processes.ts'
import type { LoadMessage, LoadOrder, LoadResult } from './protocol.ts'
import type { Target } from './target.ts'

export interface Measurement extends Case, LoadResult {
  target: string
  serverCpuSeconds: number
  databaseCpuSeconds: number
  /** Of the server process, during this case. */
  peakMemoryBytes: number
}

export const BUCKET = 'bench'
const LOAD = fileURLToPath(new URL('load.ts', import.meta.url))

export async function createBucket(target: Target): Promise<void> {
  const answer = await signedRequest(target.port, target.credentials, { method: 'PUT', path: s3Path(BUCKET) })
  if (answer.status !== 200) throw new Error(`${target.name}: the bucket could not be made: ${answer.status} ${answer.text}`)
}

/** Writes what the GET cases of one size read. */
export async function fill(target: Target, sizeBytes: number, objects: number): Promise<void> {
  const order = { ...orderOf(target, { operation: 'PUT', sizeBytes, connections: 4, signedPayload: false }), objects, fill: true, prefix: prefixOf(sizeBytes) }
  const filled = await load(order, () => {})
  if (filled.kind !== 'filled') throw new Error(`the load process answered ${filled.kind}`)
  const failures = Object.entries(filled.failures)
  if (failures.length > 0) throw new Error(`${target.name}: objects of ${sizeName(sizeBytes)} to read could not be written: ${JSON.stringify(filled.failures)}`)
}

let series = 0

export async function measure(target: Target, one: Case, objects: number, plan: Plan): Promise<Measurement> {
  const order: LoadOrder = {
    ...orderOf(target, one), objects, ...timesOf(plan, one),
    prefix: one.operation === 'GET' ? prefixOf(one.sizeBytes) : `put${++series}`,
  }
  let before = { server: 0, database: 0 }
  const ended = await load(order, () => {
    resetPeakMemory(target.pid())
    before = target.cpu()
  })
  const after = target.cpu()
  if (ended.kind !== 'end') throw new Error(`the load process answered ${ended.kind}`)
  return {
    target: target.name, operation: one.operation, sizeBytes: one.sizeBytes, connections: one.connections, signedPayload: one.signedPayload, ...ended.result,
    serverCpuSeconds: after.server - before.server, databaseCpuSeconds: after.database - before.database, peakMemoryBytes: peakMemoryBytes(target.pid()),
  }
}

const prefixOf = (sizeBytes: number): string => `get${sizeBytes}`

const orderOf = (target: Target, { operation, sizeBytes, connections, signedPayload }: Case): LoadOrder => ({
  port: target.port, credentials: target.credentials, bucket: BUCKET, operation, sizeBytes, connections, signedPayload,
  prefix: '', objects: 0, fill: false, warmUpMs: 0, measureMs: 0,
})

/** Starts a load process; `begin` runs when its warm-up is over. Resolves with its last word. */
async function load(order: LoadOrder, begin: () => void): Promise<LoadMessage> {
  const child = fork(LOAD, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const last = new Promise<LoadMessage>((resolve) => {
    child.on('message', (message: LoadMessage) => (message.kind === 'begin' ? begin() : resolve(message)))
  })
  child.send(order)
  const first = await Promise.race([last, exit])
  if (Array.isArray(first)) throw new Error(`the load process ended with ${first.join(' ')} before it had figures`)
  await exit
  return first
}
