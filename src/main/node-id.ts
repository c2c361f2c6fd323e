/** The node's identity: an Ed25519 key under ANVIL_STATE_DIR, made at the first start. Its libp2p peer id names the node. */
import { join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { NodeId } from '../shared/ids.ts'
import { createPrivateFile, readPrivateFile } from './secrets/private-file.ts'

/** @throws Error when the key file is there and cannot be read */
export async function loadNodeId(stateDir: string): Promise<NodeId> {
  const file = join(stateDir, 'node.key')
  if (readPrivateFile(file) === null) {
    const fresh = privateKeyToProtobuf(await generateKeyPair('Ed25519'))
    createPrivateFile(file, Buffer.from(fresh).toString('base64'))
  }
  const text = readPrivateFile(file)
  if (text === null) throw new Error(`${file} vanished`)
  return peerIdFromPrivateKey(privateKeyFromProtobuf(Buffer.from(text, 'base64'))).toString() as NodeId
}
