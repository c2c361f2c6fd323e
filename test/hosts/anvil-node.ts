/** A node on one of the test's hosts, whether it runs as a process of the checkout or in a container. */
import { S3Client } from '@aws-sdk/client-s3'
import { until } from '../support/until.ts'
import type { Host } from './network.ts'
import type { Namespace } from './namespaces.ts'
import type { Outcome } from './commands.ts'

export interface NodeSettings {
  /** anvil1, anvil2, … */
  name: string
  /** The network it runs in: its host's own, or one behind it. */
  namespace: Namespace
  /** Where clients and peers reach it. */
  host: Host
  /** All of its settings. */
  env: Record<string, string>
  /** As of a container: the command, which may begin with `anvil`. */
  args: string[]
  /** Its data outlives it: named volumes in a container. @default false */
  volumes?: boolean
}

export interface AnvilNode {
  readonly name: string
  readonly host: Host
  /** Hold from the next start on. */
  readonly settings: NodeSettings
  /** Without waiting. */
  launch(): Promise<void>
  /** SIGTERM; resolves with the exit code. @throws Error when it takes too long */
  stop(): Promise<number | null>
  /** SIGKILL. */
  kill(): Promise<void>
  running(): Promise<boolean>
  /** A command with this node's settings, where the node runs. */
  anvil(...args: string[]): Promise<Outcome>
  log(): Promise<string>
  /** Ends it and removes its data. */
  dispose(): Promise<void>
}

export const S3_PORT = 9000
export const CREDENTIALS = { accessKeyId: 'AKIAANVILTEST0000001', secretAccessKey: 'anvil-test-secret-key-0000000000000000001' }
const READY_TIMEOUT_MS = 120_000
const LOG_TAIL_CHARS = 4000

/** Starts it and waits until it is ready, in ms. */
export async function startNode(node: AnvilNode): Promise<number> {
  const began = performance.now()
  await node.launch()
  await untilReady(node)
  return performance.now() - began
}

export async function untilReady(node: AnvilNode): Promise<void> {
  let ended = false
  await until(`${node.name} is ready`, async () => {
    if ((await readiness(node)) === 200) return true
    ended = !(await node.running())
    return ended
  }, { timeoutMs: READY_TIMEOUT_MS, everyMs: 50, detail: () => logTail(node) })
  if (ended) throw new Error(`${node.name} ended before it was ready\n${await logTail(node)}`)
}

async function readiness(node: AnvilNode): Promise<number> {
  try {
    const response = await fetch(`${endpoint(node)}/-/readyz`, { signal: AbortSignal.timeout(2000) })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 0 // nobody listens yet
  }
}

export function endpoint(node: AnvilNode): string {
  const { address } = node.host
  return `http://${address.includes(':') ? `[${address}]` : address}:${S3_PORT}`
}

/** The SDK's client, without retries: a test sees each answer as it came. */
export function s3(node: AnvilNode): S3Client {
  const region = node.settings.env['REGION'] ?? 'local'
  return new S3Client({ endpoint: endpoint(node), region, credentials: CREDENTIALS, forcePathStyle: true, maxAttempts: 1 })
}

/** @throws Error when it fails */
export async function anvil(node: AnvilNode, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await node.anvil(...args)
  if (code !== 0) throw new Error(`anvil ${args.join(' ')} on ${node.name} ended with ${code}: ${stderr}${stdout}`)
  return stdout
}

export async function logTail(node: AnvilNode): Promise<string> {
  return `--- log of ${node.name}:\n${(await node.log()).slice(-LOG_TAIL_CHARS)}`
}
