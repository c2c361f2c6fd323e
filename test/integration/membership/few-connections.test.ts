/** More members than connections, as in a cluster of thousands: who is parted with is neither missed nor suspected. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PART_EVERY_MS } from '../../../src/main/transport/limits.ts'
import type { TransportStats } from '../../../src/main/transport/contract.ts'
import { knowEachOther, member } from '../../support/memberships.ts'
import { until } from '../../support/until.ts'

const NODES = 10
/** Each speaks with each other every few seconds: most connections are given up in between. */
const BOUNDS = { kept: 5, unusedMs: 1000 }
/** A busy machine takes its time for a dial; a member that cannot be reached is suspected all the same. */
const SWIM = { probeTimeoutMs: 2000, probeEndMs: 6000 }

test('nodes part with peers that they have not spoken with, and nobody is missed', async (t) => {
  const first = await member(t, { transport: { bounds: BOUNDS }, membership: { swim: SWIM } })
  const nodes = [first]
  while (nodes.length < NODES) nodes.push(await member(t, { transport: { bounds: BOUNDS }, membership: { swim: SWIM, bootstrapAddrs: [first.addr] } }))
  const seen = new Set<string>()
  for (const { membership } of nodes) membership.on('change', () => membership.members.forEach(({ state }) => seen.add(state)))
  await knowEachOther(nodes)

  // a request that takes long keeps its connection
  const slow = nodes[1]!
  await slow.transport.handle('slow', async (_, body) => {
    await sleep(BOUNDS.unusedMs + 3 * PART_EVERY_MS)
    return body
  })
  const answer = first.transport.request(slow.transport.nodeId, 'slow', Buffer.from('patience'), { timeoutMs: 60_000 })

  const total = (figure: keyof TransportStats): number => nodes.reduce((sum, { transport }) => sum + transport.stats()[figure], 0)
  const dialsBefore = total('dials')
  await until('some have parted and dialled again', () => total('partings') > 4 * NODES && total('dials') > dialsBefore + 3 * NODES, {
    timeoutMs: 60_000, detail: () => JSON.stringify(nodes.map(({ transport }) => transport.stats())),
  })
  await until('no more are connected than are kept', () => nodes.some(({ transport }) => transport.stats().peers <= BOUNDS.kept))
  assert.equal(Buffer.from(await answer).toString(), 'patience')

  const heard = nodes.slice(1).map(({ membership }) => {
    let times = 0
    membership.on('event', () => times++)
    return () => times
  })
  first.membership.broadcast({ kind: 'bucket', key: 'photos' })
  await until('all have heard', () => heard.every((times) => times() === 1))

  assert.deepEqual([...seen], ['alive'])
  assert.deepEqual(nodes.flatMap(({ membership }) => membership.problems), [])
})
