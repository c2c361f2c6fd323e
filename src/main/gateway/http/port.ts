/**
 * uWebSockets.js lets any number of sockets of one user share a port, which is how gateway threads share theirs. It also
 * means that a second node on the same port is no error: clients would reach now the one and now the other. So a process
 * asks before its first gateway listens.
 */
import net from 'node:net'

/** A port that the system has free now, for threads that are to share it. */
export function anyPort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.once('error', reject)
    server.listen({ host, port: 0, exclusive: true }, () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => {
        resolve(port)
      })
    })
  })
}

/** @throws Error (code EADDRINUSE, EACCES, EADDRNOTAVAIL …) when the address cannot be bound by this process alone */
export function assertPortFree({ host, port }: { host: string; port: number }): Promise<void> {
  if (port === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => {
        resolve()
      })
    })
  })
}
