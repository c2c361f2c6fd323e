/** `/metrics` for Prometheus on ANVIL_METRICS_BIND_ADDR. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'

export interface MetricsServer {
  port: number
  close(): Promise<void>
}

const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
const REQUEST_MS = 10_000

/** @throws Error when the address cannot be listened on */
export async function startMetricsServer(
  { host, port }: { host: string; port: number }, text: () => Promise<string>, logger: Logger,
): Promise<MetricsServer> {
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    const send = (status: number, body: string): void => {
      response.writeHead(status, { 'content-type': CONTENT_TYPE })
      response.end(request.method === 'HEAD' ? '' : body)
    }
    if (request.url?.split('?', 1)[0] !== '/metrics') return send(404, 'only /metrics is here\n')
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(405, 'only GET\n')
    text().then((body) => send(200, body)).catch((error: unknown) => {
      logger.error({ err: error }, 'the metrics could not be collected')
      send(500, 'the metrics could not be collected\n')
    })
  })
  server.listen(port, host)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    }),
  }
}
