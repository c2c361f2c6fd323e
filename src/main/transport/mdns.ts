/** Finds peers on the local network without any address (RFC 6762). What answers still has to prove the cluster's secret. */
import { createHash } from 'node:crypto'
import { format } from 'node:util'
import type { ComponentLogger, Logger as Libp2pLogger, PeerDiscovery, Startable } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { multiaddr } from '@multiformats/multiaddr'
import type { Logger } from '../observability/logger.ts'

export interface MdnsOptions {
  /** @default 5353 */
  port?: number
  /** Multicast group. @default 224.0.0.251 */
  ip?: string
  /** Between two questions. @default 10 s */
  intervalMs?: number
}

export interface LocalDiscovery {
  stop(): Promise<void>
}

interface Options extends MdnsOptions {
  /** Of this node, with /p2p. @libp2p/mdns tells only loopback and private ones. */
  addrs: readonly string[]
  /** Names the cluster: others ask and answer under other names. */
  cluster: string
  logger: Logger
  found(addrs: string[]): void
}

export async function startMdns({ addrs, cluster, logger, found, ...options }: Options): Promise<LocalDiscovery> {
  // a DNS-SD service label has at most 15 characters after its underscore (RFC 6335)
  const tag = `_anvil-${createHash('sha256').update(cluster).digest('hex').slice(0, 8)}._udp.local`
  const own = addrs.map((addr) => multiaddr(addr))
  const discovery = mdns({ serviceTag: tag, port: options.port, ip: options.ip, interval: options.intervalMs })({
    addressManager: { getAddresses: () => own } as unknown as Parameters<ReturnType<typeof mdns>>[0]['addressManager'],
    logger: componentLogger(logger),
  }) as PeerDiscovery & Startable
  discovery.addEventListener('peer', ({ detail }) => found(detail.multiaddrs.map((addr) => `${addr.toString()}/p2p/${detail.id.toString()}`)))
  await discovery.start()
  logger.debug({ tag }, 'looking for peers on the local network')
  return { stop: async () => discovery.stop() }
}

/** The same failure again, say of a network that is away, is not said again. */
const MAX_SAID = 16

function componentLogger(logger: Logger): ComponentLogger {
  const said = new Set<string>()
  const line = (text: string, args: unknown[]): string => format(text.replaceAll(/%[pae]/g, '%s'), ...args)
  const forComponent = (name: string): Libp2pLogger => Object.assign(
    () => {},
    {
      enabled: false,
      trace: () => {},
      error: (text: string, ...args: unknown[]) => {
        const problem = line(text, args.map((arg) => (arg instanceof Error ? arg.message : arg)))
        if (said.has(problem) || said.size >= MAX_SAID) return
        said.add(problem)
        logger.warn(`the search for peers on the local network has a problem: ${problem}`)
      },
      newScope: (scope: string) => forComponent(`${name}:${scope}`),
    },
  )
  return { forComponent }
}
