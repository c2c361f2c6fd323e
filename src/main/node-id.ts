/** The node's key: a file under ANVIL_STATE_DIR, made at the first start. */
import { join } from 'node:path'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { createPrivateFile, readPrivateFile } from './secrets/private-file.ts'
import { identityFromProtobuf, type NodeIdentity } from './transport/identity.ts'

/** @throws Error when the key file is there and cannot be read */
export async function loadIdentity(stateDir: string): Promise<NodeIdentity> {
  const file = join(stateDir, 'node.key')
  if (readPrivateFile(file) === null) {
    const fresh = privateKeyToProtobuf(await generateKeyPair('Ed25519'))
    createPrivateFile(file, Buffer.from(fresh).toString('base64'))
  }
  const text = readPrivateFile(file)
  if (text === null) throw new Error(`${file} vanished`)
  return identityFromProtobuf(Buffer.from(text, 'base64'))
}
