import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { message } from '../../../test/support/gossip-arbitraries.ts'
import { fakeKeys, Net, nodeName, recordOf } from '../../../test/support/gossip-net.ts'
import { mulberry32 } from '../../../test/support/random.ts'
import type { Output } from './contract.ts'
import { decodeMessage, encodeMessage } from './message-codec.ts'
import { accusationNews, noticeNews, recordNews } from './news-codec.ts'
import { signRecord } from './record-codec.ts'
import { Swim } from './swim.ts'

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

test('the dead and the left are forgotten by all and stay away, whatever tables are exchanged', () => {
  const net = new Net(5, { forgetMs: 60_000, exchangeIntervalMs: 2000 })
  for (let i = 0; i < 6; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.stop(4)
  net.leave(5)
  net.run(2000)
  net.stop(5)
  net.run(30_000)
  // Whoever comes now hears of them, with their age.
  const late = net.add(['addr-1'])
  net.run(3000)
  assert.equal(net.states(late)['node-4'], 'dead')
  assert.equal(net.states(late)['node-5'], 'left')
  net.run(200_000)
  for (const node of net.nodes.filter(({ running }) => running)) {
    assert.deepEqual(Object.keys(net.states(node)).filter((id) => id === 'node-4' || id === 'node-5'), [])
    const forgotten = node.log.filter((output) => output.kind === 'forgotten').map(({ nodeId }) => nodeId)
    assert.deepEqual(forgotten.sort(), ['node-4', 'node-5'])
  }
})

test('a node that restarts is the same member with a higher incarnation, also where it had left', () => {
  const net = new Net(6)
  for (let i = 0; i < 4; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  const before = net.nodes[0]!.swim.member(nodeName(3))!
  net.leave(3)
  net.run(2000)
  assert.equal(net.states(net.nodes[0]!)['node-3'], 'left')
  net.restart(3, ['addr-1'], { processId: 'second', startedMs: net.nowMs, addrs: ['addr-3', 'other'] })
  net.run(3000)
  for (const node of net.nodes) {
    const member = node.swim.member(nodeName(3))!
    assert.deepEqual([member.state, member.processId, member.addrs], ['alive', 'second', ['addr-3', 'other']])
    assert.ok(member.incarnation > before.incarnation)
  }
})

test('a restart with a clock that was set back goes above the life before', () => {
  const net = new Net(7)
  for (let i = 0; i < 4; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.stop(3)
  net.restart(3, ['addr-1'], { processId: 'second', incarnation: 5 })
  net.run(5000)
  for (const node of net.nodes) assert.equal(node.swim.member(nodeName(3))!.processId, 'second')
  assert.deepEqual(net.problems(3), [])
})

test('two live processes of one node id are reported by one of them and by others', () => {
  const net = new Net(8)
  for (let i = 0; i < 4; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.add(['addr-1'], { ...net.nodes[3]!.swim.self, processId: 'double', startedMs: net.nowMs, addrs: ['addr-4'] }, 3)
  net.run(60_000)
  assert.ok([...net.problems(3), ...net.problems(4)].includes('duplicate-node'))
  assert.ok(net.problems(0).includes('duplicate-node'))
})

test('halves of a partition find each other again, without an address', () => {
  const net = new Net(9)
  for (let i = 0; i < 8; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.cut = (a, b) => a < 4 !== b < 4
  net.run(60_000)
  assert.equal(net.states(net.nodes[0]!)['node-7'], 'dead')
  assert.equal(net.states(net.nodes[7]!)['node-0'], 'dead')
  net.cut = null
  net.run(30_000)
  for (const node of net.nodes) assert.deepEqual([...new Set(Object.values(net.states(node)))], ['alive'])
})

test('clusters that began apart become one through a seed address', () => {
  const net = new Net(10)
  for (let i = 0; i < 6; i++) net.add(i === 0 || i === 3 ? [] : [i < 3 ? 'addr-0' : 'addr-3'])
  net.run(20_000)
  assert.equal(Object.keys(net.states(net.nodes[0]!)).length, 3)
  net.nodes[1]!.swim.join(['addr-4'], net.nowMs)
  net.run(5000)
  for (const node of net.nodes) assert.equal(Object.keys(net.states(node)).length, 6)
})

test('a seed that answers late is tried until it does', () => {
  const net = new Net(11)
  net.add([])
  net.pause(0)
  net.nodes[0]!.deaf = true
  net.add(['addr-0'])
  net.run(20_000)
  net.nodes[0]!.deaf = false
  net.resume(0)
  net.run(13_000)
  for (const node of net.nodes) assert.equal(Object.keys(net.states(node)).length, 2)
})

test('records of another region, or with a wrong signature, do not enter', () => {
  const net = new Net(12)
  for (let i = 0; i < 2; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.add(['addr-0'], { region: 'elsewhere' })
  net.run(5000)
  assert.deepEqual(Object.keys(net.states(net.nodes[0]!)), ['node-0', 'node-1'])
  assert.ok(net.problems(0).includes('wrong-region'))
  const { swim } = net.nodes[0]!
  const forged = { ...signRecord(recordOf(1, { incarnation: net.nowMs + 1e6 }), false, fakeKeys(1).sign), signature: fakeKeys(2).sign(Buffer.of()) }
  swim.receive({ kind: 'gossip', news: [recordNews(forged)] }, nodeName(1), net.nowMs)
  assert.ok(swim.member(nodeName(1))!.incarnation < net.nowMs)
  assert.ok(swim.drain().some((output) => output.kind === 'problem' && output.problem === 'protocol'))
})

test('changes of the own record go out together and reach all', () => {
  const net = new Net(13)
  for (let i = 0; i < 4; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  const { swim } = net.nodes[2]!
  const before = swim.self.incarnation
  for (let i = 0; i < 10; i++) swim.updateSelf({ zone: `zone-${i}` }, net.nowMs)
  net.run(3000)
  assert.equal(swim.self.incarnation, before + 2)
  for (const node of net.nodes) assert.equal(node.swim.member(nodeName(2))!.zone, 'zone-9')
})

test('no message makes an incarnation lower, takes this node\'s life, or is anything but answered or ignored', () => {
  const input = fc.tuple(fc.oneof(message, fc.uint8Array({ maxLength: 100 })), fc.nat({ max: 4 }), fc.nat({ max: 3000 }))
  fc.assert(
    fc.property(fc.array(input, { maxLength: 30 }), (inputs) => {
      let nowMs = 1000
      const swim = new Swim({ self: recordOf(0, { incarnation: 3 }), random: mulberry32(1), nowMs, ...fakeKeys(0) })
      const incarnations = new Map<string, number>()
      for (const [received, from, passedMs] of inputs) {
        nowMs += passedMs
        swim.tick(nowMs)
        swim.receive(received, nodeName(from), nowMs)
        for (const output of swim.drain()) {
          if (output.kind !== 'send' && output.kind !== 'contact') continue
          const bytes = encodeMessage(output.message)
          assert.ok(bytes.length <= 1200 || (output.kind === 'send' && output.large) || output.kind === 'contact')
          decodeMessage(bytes)
        }
        for (const { nodeId, incarnation } of swim.members()) {
          assert.ok(incarnation >= (incarnations.get(nodeId) ?? 0))
          incarnations.set(nodeId, incarnation)
        }
        assert.equal(swim.self.state, 'alive')
        assert.ok(swim.nextTickMs >= nowMs)
      }
    }),
  )
})

test('what nobody heard shows with the next pings, once all are quiet', () => {
  const net = new Net(14, { exchangeIntervalMs: 3600_000, reconnectIntervalMs: 3600_000 })
  for (let i = 0; i < 6; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  net.cut = (from) => from === 5
  net.nodes[5]!.swim.updateSelf({ zone: 'elsewhere' }, net.nowMs)
  net.run(300)
  net.cut = null
  assert.ok(net.nodes.slice(0, 5).every(({ swim }) => swim.member(nodeName(5))!.zone === ''))
  net.run(4000)
  for (const [index, node] of net.nodes.entries()) {
    assert.equal(node.swim.member(nodeName(5))!.zone, 'elsewhere')
    assert.ok(!net.changes(index, 'node-5').some(({ member }) => member.state !== 'alive'))
  }
})

test('whoever hears a notice of a record that it lacks asks for it, once, and gets it', () => {
  const net = new Net(15)
  for (let i = 0; i < 3; i++) net.add(i === 0 ? [] : ['addr-0'])
  net.run(5000)
  const [asking, asked] = net.nodes.map(({ swim }) => swim)
  const signed = signRecord(recordOf(9, { incarnation: net.nowMs }), false, fakeKeys(9).sign)
  const notice = { kind: 'gossip' as const, news: [noticeNews(signed)] }
  asking!.receive(notice, nodeName(1), net.nowMs)
  asking!.receive(notice, nodeName(2), net.nowMs)
  const sent = asking!.drain().filter((output) => output.kind === 'send')
  assert.deepEqual(sent.map(({ to, message }) => [to, message]), [[nodeName(1), { kind: 'entries', entries: [], wanted: [signed.key] }]])
  asked!.receive({ kind: 'entries', entries: [{ signed, state: 'alive', goneMs: 0 }], wanted: [] }, nodeName(2), net.nowMs)
  asked!.drain()
  asked!.receive(sent[0]!.message, nodeName(0), net.nowMs)
  for (const output of asked!.drain()) if (output.kind === 'send' && output.to === nodeName(0)) asking!.receive(output.message, nodeName(1), net.nowMs)
  assert.equal(asking!.member(nodeName(9))?.state, 'alive')
  asking!.receive(notice, nodeName(2), net.nowMs)
  assert.deepEqual(asking!.drain().filter((output) => output.kind === 'send'), [])
  const newer = signRecord(recordOf(9, { incarnation: net.nowMs + 1 }), false, fakeKeys(9).sign)
  asked!.receive({ kind: 'gossip', news: [noticeNews(newer)] }, nodeName(2), net.nowMs)
  assert.ok(asked!.drain().some((output) => output.kind === 'send' && output.to === nodeName(2) && output.message.kind === 'entries'))
})

test('an accusation of an incarnation that a node never had raises nothing: it asks for the record', () => {
  const swim = new Swim({ self: recordOf(0, { incarnation: 1000 }), random: mulberry32(1), nowMs: 1000, ...fakeKeys(0) })
  const { key } = signRecord(recordOf(0), false, fakeKeys(0).sign)
  swim.receive({ kind: 'gossip', news: [accusationNews('dead', key, 2 ** 48, 7)] }, nodeName(1), 1000)
  assert.equal(swim.self.incarnation, 1000)
  assert.ok(swim.drain().some((output) => output.kind === 'send' && output.message.kind === 'entries' && output.message.wanted[0] === key))
  swim.receive({ kind: 'gossip', news: [accusationNews('suspect', key, 1000, 7)] }, nodeName(1), 1000)
  assert.equal(swim.self.incarnation, 1001)
})
