/**
 * Both sides of a new connection prove that they know the cluster's secret, the dialler first (DESIGN §8).
 *
 *   dialler            listener
 *   hello      ->
 *              <-      hello             both now see what does not fit: version, deployment, region
 *   proof      ->                        HMAC-SHA256(secret; role, both nonces, both peer ids, deployment, region)
 *              <-      proof | refused
 *   done       ->                        or refused
 *
 * libp2p's TLS has proven both peer ids before; as they are in the HMAC, nobody in the middle can pass a proof on. The
 * first secret that is listed is proven, any that is listed is accepted: so secrets change node by node.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { DeploymentId, NodeId } from '../../shared/ids.ts'
import { PeerRefusal, type PeerIdentity, type RefusalKind } from './contract.ts'
import { FrameError, type FrameChannel } from './frames.ts'
import { HANDSHAKE_STEP_MS, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION } from './limits.ts'

export type HandshakeRole = 'dialler' | 'listener'

/** What a node says of itself, and the secrets that it proves and accepts. */
export interface Credentials {
  nodeId: NodeId
  processId: string
  deploymentId: DeploymentId
  region: string
  /** The first is proven, any is accepted. */
  clusterSecrets: readonly string[]
}

export interface HandshakeOptions {
  /** Said to the peer instead of done, after its proof; for what only a proven peer is told. */
  refuse?: (peer: PeerIdentity) => PeerRefusal | null
  signal?: AbortSignal
  /** Of each message. @default HANDSHAKE_STEP_MS */
  stepMs?: number
  /** Wall clock. @default Date.now */
  nowMs?: () => number
}

interface Hello {
  oldest: number
  newest: number
  nonce: string
  processId: string
  deploymentId: string
  region: string
  clockMs: number
}

const NONCE_BYTES = 32
const LABEL = 'anvil cluster handshake'
const MAX_NAME_CHARACTERS = 128

/**
 * Runs one side. `remote` is the peer id that TLS has proven. The channel is spent afterwards, whichever way it goes.
 * @throws PeerRefusal
 */
export async function handshake(channel: FrameChannel, role: HandshakeRole, ours: Credentials, remote: NodeId, options: HandshakeOptions = {}): Promise<PeerIdentity> {
  try {
    const peer = await new Handshake(channel, role, ours, remote, options).run()
    await channel.end()
    return peer
  } catch (error) {
    const refusal = asRefusal(error)
    // what was said last still goes out: the channel is ended, not cut
    if (error instanceof PeerRefusal) await channel.end().catch(() => channel.abort(refusal))
    else channel.abort(refusal)
    throw refusal
  }
}

class Handshake {
  readonly #channel: FrameChannel
  readonly #role: HandshakeRole
  readonly #ours: Credentials
  readonly #remote: NodeId
  readonly #options: HandshakeOptions
  readonly #nonce = randomBytes(NONCE_BYTES).toString('base64')
  readonly #nowMs: () => number

  constructor(channel: FrameChannel, role: HandshakeRole, ours: Credentials, remote: NodeId, options: HandshakeOptions) {
    this.#channel = channel
    this.#role = role
    this.#ours = ours
    this.#remote = remote
    this.#options = options
    this.#nowMs = options.nowMs ?? Date.now
  }

  async run(): Promise<PeerIdentity> {
    return this.#role === 'dialler' ? this.#dial() : this.#listen()
  }

  async #dial(): Promise<PeerIdentity> {
    const sentMs = this.#nowMs()
    this.#say(this.#hello())
    const theirs = parseHello(await this.#hear())
    const heardMs = this.#nowMs()
    const peer = this.#compare(theirs, (sentMs + heardMs) / 2, Math.abs(heardMs - sentMs) / 2)
    this.#say({ proof: this.#proof(this.#ours.clusterSecrets[0]!, 'dialler', theirs) })
    this.#check(await this.#hear(), 'listener', theirs)
    this.#finish(peer)
    return peer
  }

  async #listen(): Promise<PeerIdentity> {
    const theirs = parseHello(await this.#hear())
    const heardMs = this.#nowMs()
    this.#say(this.#hello())
    const peer = this.#compare(theirs, heardMs, 0)
    // the dialler's clock was read one way ago: the round trip that follows bounds how long that may have been
    const proof = await this.#hear()
    peer.uncertaintyMs = Math.abs(this.#nowMs() - heardMs)
    this.#check(proof, 'dialler', theirs)
    const refusal = this.#options.refuse?.(peer) ?? null
    if (refusal !== null) throw this.#refuse(refusal)
    this.#say({ proof: this.#proof(this.#ours.clusterSecrets[0]!, 'listener', theirs) })
    const last = await this.#hear()
    if (last['done'] !== true) throw new PeerRefusal('protocol', 'did not end the handshake')
    return peer
  }

  #finish(peer: PeerIdentity): void {
    const refusal = this.#options.refuse?.(peer) ?? null
    if (refusal !== null) throw this.#refuse(refusal)
    this.#say({ done: true })
  }

  #hello(): Hello {
    const { processId, deploymentId, region } = this.#ours
    return { oldest: OLDEST_PROTOCOL_VERSION, newest: PROTOCOL_VERSION, nonce: this.#nonce, processId, deploymentId, region, clockMs: this.#nowMs() }
  }

  /** Both sides do this with the same two hellos, so both know why they part. */
  #compare(theirs: Hello, ourClockMs: number, uncertaintyMs: number): PeerIdentity {
    const protocolVersion = Math.min(PROTOCOL_VERSION, theirs.newest)
    if (protocolVersion < OLDEST_PROTOCOL_VERSION || protocolVersion < theirs.oldest) {
      throw new PeerRefusal('protocol', `speaks versions ${theirs.oldest} to ${theirs.newest} of the protocol between nodes, this one ${OLDEST_PROTOCOL_VERSION} to ${PROTOCOL_VERSION}: upgrade one version at a time`)
    }
    const { deploymentId, region } = this.#ours
    if (theirs.deploymentId !== deploymentId) {
      throw new PeerRefusal('wrong-deployment', `belongs to deployment ${theirs.deploymentId}, this node to ${deploymentId}`)
    }
    if (theirs.region !== region) {
      throw new PeerRefusal('wrong-region', `is in region ${theirs.region}, this node in ${region}: only nodes of one region are peers`)
    }
    return { nodeId: this.#remote, processId: theirs.processId, protocolVersion, clockAheadMs: Math.round(theirs.clockMs - ourClockMs), uncertaintyMs: Math.round(uncertaintyMs) }
  }

  #proof(secret: string, prover: HandshakeRole, theirs: Hello): string {
    const [dialler, listener] = this.#role === 'dialler' ? ['ours', 'theirs'] as const : ['theirs', 'ours'] as const
    const sides = { ours: { id: this.#ours.nodeId, hello: this.#nonce }, theirs: { id: this.#remote, hello: theirs.nonce } }
    const mac = createHmac('sha256', secret)
    // each field with its length before it, so that no two lists of fields read the same
    for (const field of [LABEL, prover, sides[dialler].hello, sides[listener].hello, sides[dialler].id, sides[listener].id, this.#ours.deploymentId, this.#ours.region]) {
      const bytes = Buffer.from(field)
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length)
      mac.update(length).update(bytes)
    }
    return mac.digest('base64')
  }

  #check(message: Message, prover: HandshakeRole, theirs: Hello): void {
    const given = Buffer.from(textOf(message, 'proof'), 'base64')
    const known = this.#ours.clusterSecrets.map((secret) => {
      const wanted = Buffer.from(this.#proof(secret, prover, theirs), 'base64')
      return wanted.length === given.length && timingSafeEqual(wanted, given)
    })
    if (!known.includes(true)) throw this.#refuse(new PeerRefusal('wrong-secret', 'does not know the secret of this cluster: ANVIL_CLUSTER_SECRET differs'))
  }

  #refuse(refusal: PeerRefusal): PeerRefusal {
    this.#say({ refused: refusal.kind })
    return refusal
  }

  #say(message: object): void {
    this.#channel.send(Buffer.from(JSON.stringify(message)))
  }

  async #hear(): Promise<Message> {
    const stepMs = this.#options.stepMs ?? HANDSHAKE_STEP_MS
    const step = AbortSignal.timeout(stepMs)
    const { signal } = this.#options
    let bytes
    try {
      bytes = await this.#channel.receive(signal === undefined ? step : AbortSignal.any([signal, step]))
    } catch (error) {
      if (step.aborted) throw new PeerRefusal('unreachable', `answers too late: no word of the handshake within ${stepMs} ms`, { cause: error })
      throw error
    }
    if (bytes === null) throw new PeerRefusal('unreachable', 'ended the handshake, or lost the connection, without a word')
    const message = parseMessage(bytes)
    const refused = message['refused']
    if (refused !== undefined) throw refusedBy(refused)
    return message
  }
}

/** What a peer's refusal means here. */
function refusedBy(kind: unknown): PeerRefusal {
  switch (kind) {
    case 'wrong-secret':
      return new PeerRefusal('wrong-secret', 'refuses this node: ANVIL_CLUSTER_SECRET differs')
    case 'duplicate-node':
      return new PeerRefusal('duplicate-node', 'refuses this node: another live process has the same node id. Was ANVIL_STATE_DIR copied to another host?')
    default:
      return new PeerRefusal('protocol', 'refuses this node')
  }
}

function asRefusal(error: unknown): PeerRefusal {
  if (error instanceof PeerRefusal) return error
  const kind: RefusalKind = error instanceof FrameError ? 'protocol' : 'unreachable'
  return new PeerRefusal(kind, kind === 'protocol' ? `does not keep to the protocol: ${(error as Error).message}` : 'the connection broke during the handshake', { cause: error })
}

// ------------------------------------------------------------------------------------- what arrives is not trusted

type Message = Record<string, unknown>

function parseMessage(bytes: Uint8Array): Message {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    throw new FrameError('not JSON', { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FrameError('not an object')
  return value as Message
}

function parseHello(message: Message): Hello {
  const nonce = textOf(message, 'nonce')
  if (Buffer.from(nonce, 'base64').length !== NONCE_BYTES) throw new FrameError('a nonce of the wrong length')
  return {
    oldest: integerOf(message, 'oldest'),
    newest: integerOf(message, 'newest'),
    nonce,
    processId: textOf(message, 'processId'),
    deploymentId: textOf(message, 'deploymentId'),
    region: textOf(message, 'region'),
    clockMs: integerOf(message, 'clockMs'),
  }
}

function textOf(message: Message, name: string): string {
  const value = message[name]
  // it comes into log lines: printable, and not long
  if (typeof value !== 'string' || value.length === 0 || value.length > MAX_NAME_CHARACTERS || !/^[\x21-\x7e]+$/.test(value)) throw new FrameError(`no ${name}`)
  return value
}

function integerOf(message: Message, name: string): number {
  const value = message[name]
  if (!Number.isSafeInteger(value)) throw new FrameError(`no ${name}`)
  return value as number
}
