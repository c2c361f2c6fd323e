/** Multiaddrs of peers: `/ip4/192.0.2.1/udp/7443/quic-v1`, `/dns/host/udp/7443/quic-v1/p2p/ID` (DESIGN §2). */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { NodeId } from '../../shared/ids.ts'
import { PeerRefusal } from './contract.ts'
import { isNodeId } from './identity.ts'

export interface PeerAddress {
  /** `ip` where the host is an address; otherwise the name is to be looked up. */
  family: 'ip' | 'dns' | 'dns4' | 'dns6'
  host: string
  port: number
  /** Who must answer there; null: whoever does. */
  nodeId: NodeId | null
}

const FORM = /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]{1,253})\/udp\/(\d{1,5})\/quic-v1(?:\/p2p\/([1-9A-HJ-NP-Za-km-z]{20,80}))?$/
/** A name with more addresses than this is tried no further. */
const MAX_RESOLVED = 4

/** Null for what is none. */
export function parseAddress(text: string): PeerAddress | null {
  const [, family = '', host = '', port = '', id] = FORM.exec(text) ?? []
  if (family === '' || Number(port) > 65_535 || Number(port) === 0) return null
  if (family === 'ip4' && isIP(host) !== 4) return null
  if (family === 'ip6' && isIP(host) !== 6) return null
  if (id !== undefined && !isNodeId(id)) return null
  return { family: family.startsWith('ip') ? 'ip' : family as PeerAddress['family'], host, port: Number(port), nodeId: id ?? null }
}

export const formatAddress = (host: string, port: number, nodeId: NodeId | null = null): string =>
  `/ip${isIP(host) === 6 ? 6 : 4}/${host}/udp/${port}/quic-v1${nodeId === null ? '' : `/p2p/${nodeId}`}`

/** The addresses behind names, as libp2p's QUIC takes addresses only. @throws PeerRefusal */
export async function resolveAddress(address: PeerAddress): Promise<{ host: string; port: number }[]> {
  const { family, host, port } = address
  if (family === 'ip') return [{ host, port }]
  try {
    const found = await lookup(host, { all: true, family: family === 'dns4' ? 4 : family === 'dns6' ? 6 : 0 })
    return found.slice(0, MAX_RESOLVED).map(({ address: ip }) => ({ host: ip, port }))
  } catch (error) {
    throw new PeerRefusal('unreachable', `${host} has no address: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { cause: error })
  }
}
