/** One member in a process of its own: the real transport and the real membership, nothing else. Ends with its parent. */
import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import type { DeploymentId } from '../../src/shared/ids.ts'
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
const transport = await startTransport({
  identity, processId, deploymentId: 'd0'.repeat(16) as DeploymentId, region, clusterSecrets: [clusterSecret], listen: { host, port }, publicAddrs, mdns: null, logger,
})
const membership = await createMembership({
  identity, transport, bootstrapAddrs, logger,
  knownNodes: () => Promise.resolve([]),
  record: {
    processId, region, zone: '', addrs: publicAddrs.length > 0 ? publicAddrs : [formatAddress(host, transport.listening.port)],
    grpcAddr: 'http://localhost:50051', version: '0.0.0', startedMs: Date.now(), drives: [],
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

function tell(): void {
  const { sentBytes, receivedBytes } = transport.stats()
  const members = membership.members.map(({ nodeId, state, incarnation, processId: process, addrs }) => ({
    nodeId, state, incarnation, processId: process, addrs, seen: [...(seen.get(nodeId) ?? [])],
  }))
  process.send?.({ nodeId: identity.nodeId, processId, members, problems: [...membership.problems], events, health: membership.health, sentBytes, receivedBytes } satisfies View)
}
