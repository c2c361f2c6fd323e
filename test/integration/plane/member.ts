/**
 * One node of the shard plane in a process of its own: an addon with drives, a plane, and a libp2p listener behind its relay.
 * It is told what to do over the channel of `fork` and answers each message with one.
 */
import { quic } from '@chainsafe/libp2p-quic'
import { createLibp2p } from 'libp2p'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { loadNative } from '../../../src/shared/load-native.ts'
import type { PlanePeer } from '../../../src/shared/native-plane.ts'
import type { BlobSource, PgDefinition } from '../../../src/shared/native.ts'
import { identity, type MemberSetup, readBlob } from './setup.ts'

export type Order =
  | { do: 'know'; peer: PlanePeer; driveIds: string[] }
  | { do: 'group'; group: PgDefinition }
  | { do: 'read'; blob: BlobSource }

const setup = JSON.parse(process.argv[2]!) as MemberSetup
const native = loadNative()
native.init({ memoryLimitBytes: 64 << 20, logFilter: 'info', runtimeThreads: 2 })
for (const driveId of setup.driveIds) {
  const path = join(setup.folder, driveId)
  if (!existsSync(path)) {
    mkdirSync(path)
    await native.createDrive(path, setup.deploymentId, driveId)
  }
  await native.openDrive({ path, deploymentId: setup.deploymentId, driveId, reserveBytes: 0 })
}
const { seed, nodeId } = await identity(setup.number)
const bound = await native.startPlane({
  host: '127.0.0.1',
  port: setup.port,
  identitySeed: seed,
  nodeId,
  processId: setup.processId,
  deploymentId: setup.deploymentId,
  region: 'here',
  clusterSecrets: [setup.secret],
})
const libp2p = await createLibp2p({
  privateKey: await generateKeyPairFromSeed('Ed25519', seed),
  addresses: { listen: ['/ip4/127.0.0.1/udp/0/quic-v1'] },
  transports: [quic()],
})
await libp2p.handle('/echo/1', async (stream) => {
  for await (const chunk of stream) stream.send(chunk)
  await stream.close()
})
native.setPlaneRelay(Number(libp2p.getMultiaddrs()[0]!.getComponents().find((part) => part.name === 'udp')?.value))

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'know':
      native.setPeer(order.peer)
      for (const driveId of order.driveIds) native.setRemoteDrive(driveId, order.peer.nodeId)
      return null
    case 'group':
      native.setPg(order.group)
      return null
    case 'read':
      return (await readBlob(native, { ...order.blob, dataKey: new Uint8Array() })).toString('base64')
  }
}

process.on('message', (order: Order) => {
  void obey(order).then(
    (answer) => process.send!({ answer }),
    (error: unknown) => process.send!({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
process.send!({ answer: { port: bound.port, nodeId } })
