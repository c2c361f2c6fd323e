/** Real transports on loopback addresses, ended with the test. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import type { DeploymentId } from '../../src/shared/ids.ts'
import { formatAddress } from '../../src/main/transport/addresses.ts'
import type { PeerRefusal, Transport } from '../../src/main/transport/contract.ts'
import { identityFromSeed } from '../../src/main/transport/identity.ts'
import { startTransport, type TransportOptions } from '../../src/main/transport/index.ts'

export const DEPLOYMENT = 'd0'.repeat(16) as DeploymentId

export interface TestTransport {
  transport: Transport
  /** Where it is dialled. */
  addr: string
  packets: { from: string; text: string }[]
  problems: { peer: string; refusal: PeerRefusal }[]
}

export interface TestTransportOptions extends Partial<TransportOptions> {
  host?: string
  /** The same seed is the same node. */
  seed?: Buffer
}

export async function openTransport(t: TestContext, { host = '127.0.0.1', seed = randomBytes(32), ...other }: TestTransportOptions = {}): Promise<TestTransport> {
  const transport = await startTransport({
    identity: await identityFromSeed(seed), processId: randomUUID(), deploymentId: DEPLOYMENT, region: 'test', clusterSecrets: ['the secret of the test cluster'],
    listen: { host, port: 0 }, publicAddrs: [], mdns: null, logger: pino({ level: 'silent' }), ...other,
  })
  t.after(() => transport.close())
  const packets: TestTransport['packets'] = []
  const problems: TestTransport['problems'] = []
  transport.on('packet', (from, bytes) => packets.push({ from, text: Buffer.from(bytes).toString() }))
  transport.on('problem', (peer, refusal) => problems.push({ peer, refusal }))
  return { transport, addr: formatAddress(host, transport.listening.port), packets, problems }
}
