/** Ports for real processes. */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { randomInt } from 'node:crypto'

/**
 * A port of the loopback address that nobody listens on, for TCP and UDP. Below the range that outgoing connections take
 * theirs from, so that it is still free when a node comes back to it after a restart.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000)
    if (taken.has(port)) continue
    if ((await tcpFree(port)) && (await udpFree(port))) {
      taken.add(port)
      return port
    }
  }
}

const taken = new Set<number>()

const tcpFree = (port: number): Promise<boolean> => new Promise((resolve) => {
  const server = createServer()
  server.once('error', () => resolve(false))
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
})

const udpFree = (port: number): Promise<boolean> => new Promise((resolve) => {
  const socket = createSocket('udp4')
  socket.once('error', () => resolve(false))
  socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)))
})
