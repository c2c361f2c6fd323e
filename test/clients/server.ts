/** A real Anvil for the clients: bin/anvil on a state folder of its own, with so many drives. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Target } from './context.ts'

const READY_TIMEOUT_MS = 900_000 // the first start may build the addon
const STOP_TIMEOUT_MS = 60_000
const root = path.resolve(import.meta.dirname, '../..')

export interface Server {
  target: Target
  stop(): Promise<void>
}

export async function startServer(folder: string, drives: number): Promise<Server> {
  // Folders that an unprivileged user (the embedded Postgres of a root) can reach.
  await fs.mkdir(folder, { recursive: true, mode: 0o755 })
  const [http, grpc, metrics] = await freePorts(3)
  const accessKey = `clients${randomBytes(6).toString('hex')}`
  const secretKey = randomBytes(20).toString('hex')
  const child = spawn(path.join(root, 'bin', 'anvil'), ['--init-cluster'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      HTTP_BIND_ADDR: `127.0.0.1:${http}`,
      GRPC_BIND_ADDR: `127.0.0.1:${grpc}`,
      ANVIL_METRICS_BIND_ADDR: `127.0.0.1:${metrics}`,
      QUIC_BIND_ADDR: '/ip4/127.0.0.1/udp/0/quic-v1',
      ENABLE_MDNS: 'false',
      ANVIL_STATE_DIR: path.join(folder, 'state'),
      ANVIL_DATA_DIRS: Array.from({ length: drives }, (_, i) => path.join(folder, `drive${i + 1}`)).join(','),
      ANVIL_BOOTSTRAP_ACCESS_KEY: accessKey,
      ANVIL_BOOTSTRAP_SECRET_KEY: secretKey,
    },
  })
  const logFile = path.join(folder, 'server.log')
  const log = await fs.open(logFile, 'w')
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => void log.appendFile(chunk))
  const endpoint = `http://127.0.0.1:${http}`
  try {
    await ready(child, endpoint)
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${(error as Error).message}\n${await fs.readFile(logFile, 'utf8')}`, { cause: error })
  }
  return {
    target: { endpoint, accessKey, secretKey, region: 'us-east-1' },
    stop: async () => {
      await stop(child)
      await log.close()
    },
  }
}

async function ready(child: ChildProcess, endpoint: string): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`anvil ended with ${child.signalCode ?? child.exitCode}`)
    if (await answers(`${endpoint}/-/readyz`)) return
    await sleep(200)
  }
  throw new Error(`anvil was not ready within ${READY_TIMEOUT_MS / 1000} s`)
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false // not listening yet
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) throw new Error(`anvil ended by itself with ${child.signalCode ?? child.exitCode}`)
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  const [code, signal] = (await ended) as [number | null, NodeJS.Signals | null]
  clearTimeout(late)
  if (code !== 0) throw new Error(`anvil ended with ${signal ?? code} after SIGTERM`)
}

/** All open at once, so that no port is given twice. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
