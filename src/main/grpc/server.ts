/** The gRPC server of a node on GRPC_BIND_ADDR: health and reflection for everyone, Anvil's services by token. */
import { experimental, Server, ServerCredentials } from '@grpc/grpc-js'
import { ReflectionService } from '@grpc/reflection'
import { loadSync } from '@grpc/proto-loader'
import { HealthImplementation, protoPath as healthProto } from 'grpc-health-check'
import type { Logger } from 'pino'
import type { Directory } from '../directory/contract.ts'
import { authService } from './auth-service.ts'
import { type StatusSource, clusterService } from './cluster-service.ts'
import { AuthService, ClusterService, packageDefinition } from './services.ts'
import { TlsFiles } from './tls-files.ts'

export interface GrpcServerOptions {
  listen: { host: string; port: number }
  tls: { certFile: string; keyFile: string } | null
  jwtSecret: string
  directory: Pick<Directory, 'app'>
  status: StatusSource
  logger: Logger
}

export interface GrpcServer {
  port: number
  /** What health checks are answered, for all services. */
  setServing(serving: boolean): void
  /** Running calls end up to a limit; watches are cut. */
  close(): Promise<void>
}

/** None of the services takes more. */
const MAX_REQUEST_BYTES = 64 * 1024
const MAX_STREAMS = 256
const CLOSE_MS = 2000

/** @throws Error when the address cannot be listened on, or the TLS files cannot be used */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const { listen, directory, jwtSecret, status, logger } = options
  const server = new Server({
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    // a port of another process must be an error, not a share
    'grpc.so_reuseport': 0,
  })
  const health = new HealthImplementation()
  health.addToServer(server)
  new ReflectionService({ ...packageDefinition, ...loadSync(healthProto) }).addToServer(server)
  server.addService(AuthService.service, authService({ directory, jwtSecret, logger }))
  server.addService(ClusterService.service, clusterService({ status, jwtSecret, logger }))
  const setServing = (serving: boolean): void => {
    for (const service of ['', 'anvil.v1.AuthService', 'anvil.v1.ClusterService']) health.setStatus(service, serving ? 'SERVING' : 'NOT_SERVING')
  }
  setServing(true)

  const tls = options.tls === null ? null : await TlsFiles.open(options.tls, logger)
  const credentials = tls === null
    ? ServerCredentials.createInsecure()
    : experimental.createCertificateProviderServerCredentials(tls, null, false)
  try {
    const port = await bind(server, `${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}`, credentials)
    return { port, setServing, close: () => close(server).finally(() => tls?.close()) }
  } catch (error) {
    tls?.close()
    throw error
  }
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => (error === null ? resolve(port) : reject(error)))
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown()
      resolve()
    }, CLOSE_MS)
    server.tryShutdown(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
