/** Which connections have proven the cluster's secret, and the proofs under way. Nothing else is accepted of a connection before. */
import type { Connection, Stream } from '@libp2p/interface'
import type { NodeId } from '../../shared/ids.ts'
import { PeerRefusal, type PeerIdentity } from './contract.ts'
import { frameChannel } from './frames.ts'
import { handshake, type Credentials, type HandshakeRole } from './handshake.ts'
import { MAX_HANDSHAKE_BYTES, MAX_UNPROVEN_CONNECTIONS, PROOF_TIMEOUT_MS } from './limits.ts'

export const HANDSHAKE_PROTOCOL = '/anvil/handshake'

/** A refused connection stays so long, so that the last word of the handshake arrives. */
const LAST_WORD_MS = 1_000

export interface ProofsOptions {
  credentials: Credentials
  /** For what only a proven peer is told. */
  refuse(peer: PeerIdentity): PeerRefusal | null
  proven(connection: Connection, peer: PeerIdentity): void
  refused(connection: Connection, refusal: PeerRefusal): void
  /** Shown clocks, for tests. */
  nowMs?: () => number
}

interface Unproven {
  promise: Promise<PeerIdentity>
  settle(outcome: PeerIdentity | PeerRefusal): void
  begun: boolean
}

export class Proofs {
  readonly #options: ProofsOptions
  readonly #proven = new WeakMap<Connection, PeerIdentity>()
  readonly #unproven = new Map<Connection, Unproven>()

  constructor(options: ProofsOptions) {
    this.#options = options
  }

  /** An incoming connection: it has a while to prove itself. */
  await(connection: Connection): void {
    // A proof takes milliseconds: of too many at once the one that has been at it longest is the least likely to come.
    if (this.#unproven.size >= MAX_UNPROVEN_CONNECTIONS) {
      const [oldest] = this.#unproven.keys()
      oldest?.abort(new Error('too many connections that have not proven themselves'))
    }
    this.#begin(connection)
  }

  /** An outgoing connection: nobody waits for it any more when its dial was given up a moment too early. */
  expect(connection: Connection): void {
    setTimeout(() => {
      if (!this.#proven.has(connection) && !this.#unproven.has(connection)) connection.abort(new Error('nobody waits for this connection'))
    }, PROOF_TIMEOUT_MS).unref()
  }

  /** A stream of the handshake protocol on an incoming connection. */
  async answer(stream: Stream, connection: Connection): Promise<void> {
    const entry = this.#unproven.get(connection)
    if (entry === undefined || entry.begun || connection.direction !== 'inbound') {
      stream.abort(new Error('no handshake is expected here'))
      return
    }
    entry.begun = true
    await this.#run(stream, connection, 'listener', entry)
  }

  /** Proves this node to the peer that it dialled, and has it prove itself. @throws PeerRefusal */
  async prove(connection: Connection, signal: AbortSignal): Promise<PeerIdentity> {
    const known = this.#proven.get(connection)
    if (known !== undefined) return known
    const running = this.#unproven.get(connection)
    if (running !== undefined) return running.promise
    const entry = this.#begin(connection)
    // an incoming connection that the dial found: its dialler proves first
    if (connection.direction === 'outbound') {
      entry.begun = true
      try {
        const stream = await connection.newStream(HANDSHAKE_PROTOCOL, { signal })
        void this.#run(stream, connection, 'dialler', entry)
      } catch (error) {
        entry.settle((error as Error).name === 'UnsupportedProtocolError'
          ? new PeerRefusal('protocol', 'is no node of Anvil: it does not know the handshake', { cause: error })
          : new PeerRefusal('unreachable', 'the connection broke before the handshake', { cause: error }))
      }
    }
    return entry.promise
  }

  /** The peer behind a connection, once it has proven itself; null if it has not and does not. */
  async peerOf(connection: Connection): Promise<PeerIdentity | null> {
    const known = this.#proven.get(connection)
    if (known !== undefined) return known
    // the peer may be a moment ahead: its first streams can overtake the last word of its handshake
    const entry = this.#unproven.get(connection)
    if (entry === undefined || !entry.begun) return null
    return entry.promise.catch(() => null) // told through `refused`
  }

  #begin(connection: Connection): Unproven {
    const { promise, resolve, reject } = Promise.withResolvers<PeerIdentity>()
    promise.catch(() => {}) // nobody may be waiting: `refused` tells
    const settle = (outcome: PeerIdentity | PeerRefusal): void => {
      if (!this.#unproven.delete(connection)) return
      clearTimeout(timer)
      if (outcome instanceof PeerRefusal) {
        this.#close(connection)
        this.#options.refused(connection, outcome)
        reject(outcome)
      } else {
        this.#proven.set(connection, outcome)
        this.#options.proven(connection, outcome)
        resolve(outcome)
      }
    }
    const timer = setTimeout(() => settle(new PeerRefusal('unreachable', `did not prove itself within ${PROOF_TIMEOUT_MS} ms`)), PROOF_TIMEOUT_MS)
    connection.addEventListener('close', () => settle(new PeerRefusal('unreachable', 'the connection was closed during the handshake')))
    const entry = { promise, settle, begun: false }
    this.#unproven.set(connection, entry)
    return entry
  }

  async #run(stream: Stream, connection: Connection, role: HandshakeRole, entry: Unproven): Promise<void> {
    const { credentials, refuse, nowMs } = this.#options
    try {
      const remote = connection.remotePeer.toString() as NodeId
      entry.settle(await handshake(frameChannel(stream, MAX_HANDSHAKE_BYTES), role, credentials, remote, { refuse, nowMs }))
    } catch (error) {
      entry.settle(error as PeerRefusal)
    }
  }

  #close(connection: Connection): void {
    setTimeout(() => connection.abort(new Error('refused')), LAST_WORD_MS).unref()
  }
}
