/**
 * A proxy between a node and Postgres that breaks on purpose: it cuts connections, holds bytes back, swallows answers.
 * It listens on a Unix socket of its own, so that a client reaches it with another `host`.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** One direction's bytes of one connection, as they pass. */
export interface Passing {
  direction: 'to-server' | 'to-client'
  chunk: Buffer
  /** Bytes of this direction before the chunk. */
  before: number
  connection: Connection
}

export interface Connection {
  id: number
  /** For faults that remember: what the client has sent lately, the last 64 KiB. */
  sent: Buffer
  cut(): void
}

/**
 * What happens to a chunk: it passes; only its first bytes do and the connection is cut; other bytes pass in its place; it
 * is dropped (and so is all that follows in this direction); it waits until `release`.
 */
export type Verdict = 'pass' | { cutAfter: number } | { replace: Buffer } | 'swallow' | 'hold'

export interface FaultProxy {
  /** pg settings of the way through the proxy. */
  config: { host: string; port: number; user: string; database: string }
  /** Asked for each chunk; null: everything passes. */
  fault: ((passing: Passing) => Verdict) | null
  /** New connections are refused while this is true. */
  refusing: boolean
  /** Lets go what is held, in order. */
  release(): void
  cutAll(): void
  connections(): number
  close(): Promise<void>
}

const KEPT_BYTES = 64 * 1024

export async function startFaultProxy(target: { host: string; port: number; user: string; database: string }): Promise<FaultProxy> {
  const folder = await mkdtemp(path.join(tmpdir(), 'anvil-proxy-'))
  await chmod(folder, 0o755)
  const open = new Map<number, { connection: Connection; held: (() => void)[] }>()
  let ids = 0
  const proxy: FaultProxy = {
    config: { ...target, host: folder },
    fault: null,
    refusing: false,
    release() {
      for (const { held } of open.values()) for (const go of held.splice(0)) go()
    },
    cutAll() {
      for (const { connection } of [...open.values()]) connection.cut()
    },
    connections: () => open.size,
    async close() {
      proxy.cutAll()
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true, force: true })
    },
  }
  const server = net.createServer((client) => {
    if (proxy.refusing) return void client.destroy()
    const upstream = net.connect(path.join(target.host, `.s.PGSQL.${target.port}`))
    const held: (() => void)[] = []
    const connection: Connection = {
      id: ids++,
      sent: Buffer.alloc(0),
      cut() {
        open.delete(connection.id)
        client.destroy()
        upstream.destroy()
      },
    }
    open.set(connection.id, { connection, held })
    for (const socket of [client, upstream]) {
      socket.on('error', connection.cut)
      socket.on('close', connection.cut)
    }
    pass('to-server', client, upstream, connection, held)
    pass('to-client', upstream, client, connection, held)
  })

  function pass(direction: Passing['direction'], from: net.Socket, to: net.Socket, connection: Connection, held: (() => void)[]): void {
    let before = 0
    let swallowing = false
    let holding = false
    from.on('data', (chunk: Buffer) => {
      if (direction === 'to-server') connection.sent = Buffer.concat([connection.sent, chunk]).subarray(-KEPT_BYTES)
      const verdict = swallowing ? 'swallow' : (proxy.fault?.({ direction, chunk, before, connection }) ?? 'pass')
      before += chunk.length
      if (verdict === 'hold' || (holding && verdict === 'pass')) {
        holding = true
        held.push(() => {
          holding = false
          to.write(chunk)
        })
      } else if (verdict === 'swallow') swallowing = true
      else if (verdict === 'pass') to.write(chunk)
      else if ('replace' in verdict) to.write(verdict.replace)
      else {
        from.pause()
        // What passes must be on its way before the sockets go.
        to.write(chunk.subarray(0, verdict.cutAfter), () => setTimeout(connection.cut, 1))
      }
    })
  }

  await new Promise<void>((resolve) => server.listen(path.join(folder, `.s.PGSQL.${target.port}`), resolve))
  return proxy
}

/** Faults of the group commit's batches, by what the client sends (a query that begins with or contains this). */
export const BATCH_MARK = 'COPY stage FROM STDIN'
