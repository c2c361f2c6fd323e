/** A node's identity: an Ed25519 key whose libp2p peer id names the node. It proves who sent what, also long after the connection. */
import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { generateKeyPairFromSeed, privateKeyFromProtobuf } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import type { PrivateKey } from '@libp2p/interface'
import type { NodeId } from '../../shared/ids.ts'

/** DER before the 32 bytes of an Ed25519 seed or public key (RFC 8410). */
const PRIVATE_DER = Buffer.from('302e020100300506032b657004220420', 'hex')
const PUBLIC_DER = Buffer.from('302a300506032b6570032100', 'hex')
const SEED_BYTES = 32
const SIGNATURE_BYTES = 64
/** Public keys of peers that were verified lately. */
const MAX_KNOWN_KEYS = 16_384

export interface NodeIdentity {
  readonly nodeId: NodeId
  /** 32 bytes, secret: the addon's shard plane proves itself with the same key. */
  readonly seed: Uint8Array
  readonly privateKey: PrivateKey
  /** Ed25519, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array
}

/** @throws Error when it is not an Ed25519 private key in libp2p's protobuf form */
export function identityFromProtobuf(bytes: Uint8Array): NodeIdentity {
  const privateKey = privateKeyFromProtobuf(bytes)
  if (privateKey.type !== 'Ed25519') throw new Error(`a node's key is Ed25519, not ${privateKey.type}`)
  // libp2p keeps the public key behind the seed
  return identity(privateKey, privateKey.raw.slice(0, SEED_BYTES))
}

export async function identityFromSeed(seed: Uint8Array): Promise<NodeIdentity> {
  return identity(await generateKeyPairFromSeed('Ed25519', seed), seed)
}

function identity(privateKey: PrivateKey, seed: Uint8Array): NodeIdentity {
  const key = createPrivateKey({ key: Buffer.concat([PRIVATE_DER, seed]), format: 'der', type: 'pkcs8' })
  return { nodeId: peerIdFromPrivateKey(privateKey).toString() as NodeId, seed, privateKey, sign: (bytes) => sign(null, bytes, key) }
}

const publicKeys = new Map<string, KeyObject | null>()

/** Whether the node itself signed these bytes. False for what is no node id or no signature. */
export function signedBy(nodeId: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  const key = publicKeyOf(nodeId)
  return key !== null && signature.length === SIGNATURE_BYTES && verify(null, bytes, key, signature)
}

/** Whether the text is the peer id of an Ed25519 key. */
export const isNodeId = (text: string): text is NodeId => publicKeyOf(text) !== null

function publicKeyOf(nodeId: string): KeyObject | null {
  const known = publicKeys.get(nodeId)
  if (known !== undefined) return known
  if (publicKeys.size >= MAX_KNOWN_KEYS) publicKeys.clear()
  const key = parsePublicKey(nodeId)
  publicKeys.set(nodeId, key)
  return key
}

function parsePublicKey(nodeId: string): KeyObject | null {
  let peerId
  try {
    peerId = peerIdFromString(nodeId)
  } catch {
    return null
  }
  // the one spelling counts: a node has one name
  if (peerId.type !== 'Ed25519' || peerId.toString() !== nodeId) return null
  return createPublicKey({ key: Buffer.concat([PUBLIC_DER, peerId.publicKey.raw]), format: 'der', type: 'spki' })
}
