/** Dials a peer at whichever of its addresses answers first. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { NodeId } from '../../shared/ids.ts'
import { formatAddress, parseAddress, resolveAddress } from './addresses.ts'
import { PeerRefusal } from './contract.ts'
import { DIAL_STAGGER_MS, DIAL_TIMEOUT_MS, MAX_DIALLED_ADDRESSES } from './limits.ts'

/**
 * An address that does not answer at once is joined by the next one after a moment (as RFC 8305 does), and none may take
 * longer than DIAL_TIMEOUT_MS. `expected`: who must answer; null: whoever does.
 * @throws PeerRefusal unreachable, own-address, protocol (for what is no address)
 */
export async function dial(node: Libp2p, addrs: readonly string[], expected: NodeId | null, signal: AbortSignal): Promise<Connection> {
  const targets = await targetsOf(addrs, expected)
  const won = new AbortController()
  const attempts = targets.map((target, i) => attempt(node, target, i * DIAL_STAGGER_MS, AbortSignal.any([signal, won.signal])))
  try {
    const first = await Promise.any(attempts)
    won.abort(new Error('another address answered first'))
    // one that got through at the same moment is not needed
    for (const one of attempts) one.then((other) => other !== first && other.abort(new Error('another address answered first')), () => {})
    return first
  } catch (error) {
    signal.throwIfAborted()
    const reasons = error instanceof AggregateError ? error.errors as Error[] : [error as Error]
    throw reasons.find((one) => one instanceof PeerRefusal && one.kind === 'own-address')
      ?? new PeerRefusal('unreachable', [...new Set(reasons.map(({ message }) => message))].join('; '), { cause: error })
  }
}

interface Target {
  addr: string
  expected: NodeId | null
}

async function targetsOf(addrs: readonly string[], expected: NodeId | null): Promise<Target[]> {
  const found = await Promise.allSettled(addrs.slice(0, MAX_DIALLED_ADDRESSES).map(async (addr) => {
    const address = parseAddress(addr)
    if (address === null) throw new PeerRefusal('protocol', `${addr} is no address of a peer`)
    return (await resolveAddress(address)).map(({ host, port }) => ({ addr: formatAddress(host, port), expected: expected ?? address.nodeId }))
  }))
  const targets = found.flatMap((one) => (one.status === 'fulfilled' ? one.value : [])).slice(0, MAX_DIALLED_ADDRESSES)
  const failure = found.find((one) => one.status === 'rejected')
  if (targets.length === 0) throw failure?.reason ?? new PeerRefusal('unreachable', 'has no address')
  return targets
}

async function attempt(node: Libp2p, { addr, expected }: Target, delayMs: number, given: AbortSignal): Promise<Connection> {
  if (delayMs > 0) await sleep(delayMs, undefined, { signal: given })
  const timeout = AbortSignal.timeout(DIAL_TIMEOUT_MS)
  const signal = AbortSignal.any([given, timeout])
  let connection
  try {
    // The id is compared here and not by libp2p, which would join the dials of one peer's addresses into one. And without
    // force it would give back a connection that has been refused and is about to be closed.
    connection = await withSignal(node.dial(multiaddr(addr), { signal, force: true }), signal)
  } catch (error) {
    if (timeout.aborted) throw new PeerRefusal('unreachable', `no answer within ${DIAL_TIMEOUT_MS / 1000} s`, { cause: error })
    if ((error as Error).message.includes('dial self')) {
      throw new PeerRefusal('own-address', 'answers with the identity of this node: it is its own address, or a copy of its ANVIL_STATE_DIR runs there', { cause: error })
    }
    throw new PeerRefusal('unreachable', `cannot be reached: ${(error as Error).message}`, { cause: error })
  }
  const answered = connection.remotePeer.toString()
  if (expected === null || answered === expected) return connection
  connection.abort(new Error('another node answers'))
  throw new PeerRefusal('unreachable', `another node answers there: ${answered}`)
}

/** Not everything in libp2p heeds its signal. */
export function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason as Error)
    if (signal.aborted) return aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
