/** Memberships over real transports in one process, ended with the test. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import type { NodeId } from '../../src/shared/ids.ts'
import type { Member, Membership } from '../../src/main/membership/contract.ts'
import { createMembership, type MembershipOptions } from '../../src/main/membership/index.ts'
import { identityFromSeed } from '../../src/main/transport/identity.ts'
import { openTransport, type TestTransport, type TestTransportOptions } from './transports.ts'
import { until } from './until.ts'

export interface TestMember extends TestTransport {
  membership: Membership
  end(): Promise<void>
}

export interface TestMemberOptions {
  seed?: Buffer
  /** It says that it can be reached there, too. */
  moreAddrs?: string[]
  transport?: TestTransportOptions
  membership?: Partial<MembershipOptions>
}

export async function member(t: TestContext, options: TestMemberOptions = {}): Promise<TestMember> {
  const seed = options.seed ?? randomBytes(32)
  const processId = randomUUID()
  const opened = await openTransport(t, { seed, processId, ...options.transport })
  const membership = await createMembership({
    identity: await identityFromSeed(seed), transport: opened.transport, bootstrapAddrs: [], knownNodes: () => Promise.resolve([]), logger: pino({ level: 'silent' }),
    record: { processId, region: 'test', zone: '', addrs: [opened.addr, ...(options.moreAddrs ?? [])], grpcAddr: 'http://localhost:50051', version: '0.0.0', startedMs: Date.now(), drives: [] },
    ...options.membership,
  })
  const end = async (): Promise<void> => {
    await membership.leave()
    await opened.transport.close()
  }
  const one = { ...opened, membership, end }
  endWith(t, one)
  return one
}

const running = new WeakMap<TestContext, TestMember[]>()

/** All members of a test end at once: each says goodbye for a second. */
function endWith(t: TestContext, one: TestMember): void {
  const members = running.get(t) ?? []
  members.push(one)
  if (members.length > 1) return
  running.set(t, members)
  t.after(() => Promise.all(members.map(({ end }) => end())))
}

export const known = ({ transport, addr }: TestMember): { nodeId: NodeId; addrs: string[]; leaseUntilMs: number } => ({ nodeId: transport.nodeId, addrs: [addr], leaseUntilMs: Date.now() })

export const seenBy = (one: TestMember, other: TestMember): Member | undefined => one.membership.members.find(({ nodeId }) => nodeId === other.transport.nodeId)

export const knowEachOther = (members: TestMember[], timeoutMs = 60_000): Promise<boolean> => until('all know all', () => (
  members.every((one) => members.every((other) => seenBy(one, other)?.state === 'alive' && seenBy(one, other)?.addrs[0] === other.addr))
), { timeoutMs, detail: () => JSON.stringify(members.map(({ membership }) => membership.members.map(({ nodeId, state, addrs }) => [nodeId.slice(-6), state, addrs]))) })
