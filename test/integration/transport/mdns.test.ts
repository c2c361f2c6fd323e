/** Peers on the local network find each other by multicast alone; those of another cluster do not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { multicastWorks } from '../../support/multicast.ts'
import { freePort } from '../../support/ports.ts'
import { openTransport } from '../../support/transports.ts'
import { until } from '../../support/until.ts'

test('found without any address, and only by the same cluster', async (t) => {
  // a port of the test's own: it meets nobody else's questions
  const port = await freePort()
  if (!(await multicastWorks(port))) return t.skip('this machine passes no multicast')
  const mdns = { port, intervalMs: 200 }
  const found = new Map<string, Set<string>>()
  const open = async (name: string, region: string) => {
    const one = await openTransport(t, { mdns, region })
    found.set(name, new Set())
    one.transport.on('discovered', (addrs) => addrs.forEach((addr) => found.get(name)!.add(addr)))
    return one
  }
  const a = await open('a', 'here')
  const b = await open('b', 'here')
  const stranger = await open('stranger', 'elsewhere')

  await until('a and b have found each other', () => found.get('a')!.size > 0 && found.get('b')!.size > 0)
  const addr = [...found.get('a')!][0]!
  assert.equal(addr, `${b.addr}/p2p/${b.transport.nodeId}`)
  assert.equal((await a.transport.connect(addr)).nodeId, b.transport.nodeId)

  // some more questions and answers
  await sleep(1000)
  assert.deepEqual([...found.get('a')!], [`${b.addr}/p2p/${b.transport.nodeId}`])
  assert.deepEqual([...found.get('b')!], [`${a.addr}/p2p/${a.transport.nodeId}`])
  assert.deepEqual([...found.get('stranger')!], [])
  assert.equal(stranger.transport.peers.size, 0)
})
