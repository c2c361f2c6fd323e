/**
 * ANVIL_STATE_DIR/admin.sock: how `anvil admin` on the node's own host sees and steers the running process (status,
 * background work). HTTP with JSON over a Unix socket that only the node's user (and root) can open.
 */
import { createServer, type Server } from 'node:http'
import { chmodSync, rmSync, existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Logger } from 'pino'

export type AdminHandler = () => unknown

/** `GET /status` and so on: method and path to what answers it. */
export type AdminRoutes = Record<string, AdminHandler>

export const adminSocketPath = (stateDir: string): string => join(stateDir, 'admin.sock')

/** Linux: sun_path holds 108 bytes with its NUL. */
const MAX_SOCKET_PATH_BYTES = 107

export async function openAdminSocket(stateDir: string, routes: AdminRoutes, logger: Logger): Promise<{ close(): Promise<void> }> {
  const path = adminSocketPath(stateDir)
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    logger.warn({ path }, 'the path of the state folder is too long for an admin socket: `anvil admin background` will not find this node')
    return { close: () => Promise.resolve() }
  }
  if (existsSync(path) && !(await answers(path))) rmSync(path)
  const server = createServer((request, response) => {
    const handler = routes[`${request.method} ${request.url}`]
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify(body)}\n`)
    }
    if (handler === undefined) return send(404, { error: `no ${request.method} ${request.url}` })
    Promise.resolve().then(handler).then((body) => send(200, body ?? {})).catch((error: unknown) => {
      logger.error({ err: error, request: request.url }, 'admin request failed')
      if (response.headersSent) response.destroy()
      else send(500, { error: error instanceof Error ? error.message : String(error) })
    })
  })
  await listen(server, path)
  chmodSync(path, 0o600)
  return {
    close: () => new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    }),
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Whether a live process listens on a socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
