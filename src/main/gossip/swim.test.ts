import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Output } from './contract.ts'
import { Net } from '../../../test/support/gossip-net.ts'

test('three nodes that know one address each find each other', () => {
  const net = new Net(1)
  for (let i = 0; i < 3; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  for (const node of net.nodes) assert.deepEqual(net.states(node), { 'node-0': 'alive', 'node-1': 'alive', 'node-2': 'alive' })
})

test('a node that falls silent is suspected, then dead; one that says goodbye has left', () => {
  const net = new Net(2)
  for (let i = 0; i < 5; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.stop(3)
  net.leave(4)
  net.run(2000)
  assert.equal(net.states(net.nodes[0]!)['node-4'], 'left')
  net.run(15_000)
  assert.deepEqual(net.states(net.nodes[0]!), { 'node-0': 'alive', 'node-1': 'alive', 'node-2': 'alive', 'node-3': 'dead', 'node-4': 'left' })
  const seen = net.changes(0, 'node-3').map(({ member, before }) => `${before} ${member.state}`)
  assert.deepEqual(seen, ['null alive', 'alive suspect', 'suspect dead'])
})

test('a node that was silent for three seconds is suspected, refutes, and lives', () => {
  const net = new Net(3)
  for (let i = 0; i < 5; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.pause(3)
  net.run(3000)
  net.resume(3)
  net.run(5000)
  for (const node of net.nodes) assert.equal(net.states(node)['node-3'], 'alive')
  assert.ok(net.nodes.some((_, i) => net.changes(i, 'node-3').some(({ member }) => member.state === 'suspect')))
  assert.ok(!net.nodes.some((_, i) => net.changes(i, 'node-3').some(({ member }) => member.state === 'dead')))
})

test('an event reaches every other node once', () => {
  const net = new Net(4)
  for (let i = 0; i < 8; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.nodes[2]!.swim.broadcast({ kind: 'bucket', key: 'photos' }, net.nowMs)
  net.run(3000)
  const counts = net.nodes.map(({ log }) => log.filter((output: Output) => output.kind === 'event').length)
  assert.deepEqual(counts, [1, 1, 0, 1, 1, 1, 1, 1])
})
