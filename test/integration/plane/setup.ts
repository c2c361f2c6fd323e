/** What both processes of the shard plane's test know. */
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { BlobSource, Native } from '../../../src/shared/native.ts'

export interface MemberSetup {
  number: number
  processId: string
  port: number
  folder: string
  deploymentId: string
  secret: string
  driveIds: string[]
}

/** The identity key of a member, and its peer id by libp2p. */
export async function identity(number: number): Promise<{ seed: Uint8Array; nodeId: string }> {
  const seed = new Uint8Array(32).fill(number)
  return { seed, nodeId: peerIdFromPrivateKey(await generateKeyPairFromSeed('Ed25519', seed)).toString() }
}

export async function readBlob(native: Native, blob: BlobSource): Promise<Buffer> {
  const handle = native.openRead({ ...blob, offset: 0, length: blob.size })
  const bytes = Buffer.alloc(blob.size)
  try {
    let at = 0
    for (let ready = await native.readReady(handle); ready > 0; ready = await native.readReady(handle)) {
      at += native.readCopy(handle, bytes.subarray(at))
    }
    return bytes.subarray(0, at)
  } finally {
    native.readClose(handle)
  }
}
