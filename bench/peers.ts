/**
 * Other S3 servers in the same run, for comparison: separate processes that are only talked to over HTTP. Installed from
 * the Go module proxy into .cache/peers when they are asked for with --peer.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../test/support/ports.ts'
import { signedRequest } from '../test/support/raw-http.ts'
import type { Credentials } from '../test/support/sigv4.ts'
import { until } from '../test/support/until.ts'
import { cpuSecondsOfTree } from './processes.ts'
import type { Target } from './target.ts'

interface Peer {
  module: string
  binary: string
  /** What a reader must know to compare fairly. */
  note: string
  command(port: number, dataDir: string, credentials: Credentials): { args: string[]; env: Record<string, string> }
}

export const PEERS: Record<string, Peer> = {
  versitygw: {
    module: 'github.com/versity/versitygw/cmd/versitygw@latest',
    binary: 'versitygw',
    note: 'Versity S3 Gateway (Apache-2.0), posix backend: one copy in a file, no fsync before it answers, no checksum on reads',
    command: (port, dataDir, { accessKeyId, secretAccessKey }) => ({
      args: ['--port', `127.0.0.1:${port}`, '--access', accessKeyId, '--secret', secretAccessKey, '--quiet', '--keep-alive', 'posix', dataDir], env: {},
    }),
  },
  minio: {
    module: 'github.com/minio/minio@latest',
    binary: 'minio',
    note: 'MinIO server (AGPL-3.0, run as a separate process only), one drive: no parity, checksummed',
    command: (port, dataDir, { accessKeyId, secretAccessKey }) => ({
      args: ['server', '--quiet', '--address', `127.0.0.1:${port}`, dataDir],
      env: { MINIO_ROOT_USER: accessKeyId, MINIO_ROOT_PASSWORD: secretAccessKey, MINIO_UPDATE: 'off', CI: 'true' },
    }),
  },
}

const CACHE = fileURLToPath(new URL('../.cache/peers', import.meta.url))

/** @throws Error when it is not known or cannot be installed */
function installedBinary(name: string): string {
  const peer = PEERS[name]
  if (peer === undefined) throw new Error(`unknown peer ${name}; known are ${Object.keys(PEERS).join(', ')}`)
  const binary = join(CACHE, peer.binary)
  if (existsSync(binary)) return binary
  mkdirSync(CACHE, { recursive: true })
  process.stderr.write(`installing ${peer.module} (some minutes)\n`)
  const { status, error } = spawnSync('go', ['install', peer.module], { env: { ...process.env, GOBIN: CACHE }, stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) throw new Error(`go install ${peer.module} failed`, { cause: error })
  return binary
}

export async function startPeer(name: string): Promise<Target> {
  const binary = installedBinary(name)
  const dir = mkdtempSync(join(tmpdir(), 'anvil-bench-peer-'))
  const dataDir = join(dir, 'data')
  mkdirSync(dataDir)
  const port = await freePort()
  const credentials = { accessKeyId: 'benchaccesskey', secretAccessKey: 'bench-secret-key-0000' }
  const { args, env } = PEERS[name]!.command(port, dataDir, credentials)
  const log = openSync(join(dir, 'log'), 'a')
  const child = spawn(binary, args, { cwd: dir, env: { PATH: process.env['PATH'], HOME: dir, ...env }, stdio: ['ignore', log, log] })
  const exit = once(child, 'exit')
  process.on('exit', () => child.kill('SIGKILL'))
  await until(`${name} answers`, async () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    return (await signedRequest(port, credentials, { method: 'GET', path: '/' })).status === 200
  })
  return {
    name, port, credentials,
    pid: () => child.pid!,
    cpu: () => ({ server: cpuSecondsOfTree(child.pid!), database: 0 }),
    async stop() {
      child.kill('SIGTERM')
      await exit
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
