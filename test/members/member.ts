/** One member in a process of its own: the real transport and the real membership, nothing else. Ends with its parent. */
import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import type { DeploymentId } from '../../src/shared/ids.ts'
import { MIB } from '../../src/shared/limits.ts'
import { loadNative } from '../../src/shared/load-native.ts'
import type { ClusterEvent, MemberState } from '../../src/main/membership/contract.ts'
import { createMembership } from '../../src/main/membership/index.ts'
import { formatAddress } from '../../src/main/transport/addresses.ts'
import { identityFromSeed } from '../../src/main/transport/identity.ts'
import { startTransport } from '../../src/main/transport/index.ts'
import type { MemberSettings, ToMember, View } from './messages.ts'

const TELL_EVERY_MS = 200

const settings = JSON.parse(process.argv[2] ?? '') as MemberSettings
const { host, port, publicAddrs, bootstrapAddrs, clusterSecret, region } = settings
const identity = await identityFromSeed(Buffer.from(settings.seed, 'hex'))
const processId = randomUUID()
const logger = pino({ level: 'debug', base: null }, pino.destination({ dest: settings.logFile, sync: true }))
const deploymentId = 'd0'.repeat(16) as DeploymentId
const addrs = publicAddrs.length > 0 ? publicAddrs : [formatAddress(host, port)]
const listen = settings.behindPlane ? { host: '127.0.0.1', port: 0 } : { host, port }
const transport = await startTransport({ identity, processId, deploymentId, region, clusterSecrets: [clusterSecret], listen, publicAddrs: addrs, mdns: null, logger })
if (settings.behindPlane) await openPlane()
const membership = await createMembership({
  identity, transport, bootstrapAddrs, logger,
  knownNodes: () => Promise.resolve([]),
  record: {
    processId, region, zone: '', addrs, grpcAddr: 'http://localhost:50051', version: '0.0.0', startedMs: Date.now(), drives: [],
  },
})

const seen = new Map<string, Set<MemberState>>()
const events: ClusterEvent[] = []
membership.on('event', (event) => events.push(event))
membership.on('change', () => {
  for (const { nodeId, state } of membership.members) seen.set(nodeId, (seen.get(nodeId) ?? new Set()).add(state))
  tell()
})
const timer = setInterval(tell, TELL_EVERY_MS)
tell()

process.on('message', (message: ToMember) => membership.broadcast(message.event))
process.on('disconnect', () => process.exit(1))
process.on('SIGTERM', () => {
  void (async () => {
    await membership.leave()
    await transport.close()
    clearInterval(timer)
    process.exit(0)
  })()
})

async function openPlane(): Promise<void> {
  const native = loadNative()
  native.init({ memoryLimitBytes: 64 * MIB, logFilter: 'warn', runtimeThreads: 2 })
  await native.startPlane({ host, port, identitySeed: identity.seed, nodeId: identity.nodeId, processId, deploymentId, region, clusterSecrets: [clusterSecret] })
  native.setPlaneRelay(transport.listening.port)
}

function tell(): void {
  const { sentBytes, receivedBytes } = transport.stats()
  const members = membership.members.map(({ nodeId, state, incarnation, processId: process, addrs }) => ({
    nodeId, state, incarnation, processId: process, addrs, seen: [...(seen.get(nodeId) ?? [])],
  }))
  process.send?.({ nodeId: identity.nodeId, processId, members, problems: [...membership.problems], events, health: membership.health, sentBytes, receivedBytes } satisfies View)
}
