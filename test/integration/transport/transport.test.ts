/** Real QUIC connections on loopback addresses: who becomes a peer, who does not, and what peers say to each other. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import type { NodeId } from '../../../src/shared/ids.ts'
import { PeerRefusal, type RefusalKind } from '../../../src/main/transport/contract.ts'
import { identityFromSeed } from '../../../src/main/transport/identity.ts'
import { startLibp2p } from '../../../src/main/transport/libp2p-node.ts'
import { MAX_UNPROVEN_CONNECTIONS } from '../../../src/main/transport/limits.ts'
import { PACKET_PROTOCOL } from '../../../src/main/transport/packet-sender.ts'
import { HANDSHAKE_PROTOCOL } from '../../../src/main/transport/proofs.ts'
import { requestProtocol } from '../../../src/main/transport/requests.ts'
import { freePort } from '../../support/ports.ts'
import { openTransport, type TestTransport } from '../../support/transports.ts'
import { until } from '../../support/until.ts'

// most of the time is waiting for what does not answer
describe('transport', { concurrency: true }, () => {
  test('peers exchange packets and requests over what connections they have', async (t) => {
    const [a, b] = [await openTransport(t, { host: '127.0.0.2' }), await openTransport(t, { host: '127.0.0.3' })]
    await b.transport.handle('echo', (from, body) => Buffer.concat([Buffer.from(from.slice(-4)), body]))
    const peer = await a.transport.connect(b.addr)
    assert.equal(peer.nodeId, b.transport.nodeId)
    assert.deepEqual([...a.transport.peers.keys()], [b.transport.nodeId])
    await until('the other side knows too', () => b.transport.peers.has(a.transport.nodeId))

    a.transport.send(b.transport.nodeId, Buffer.from('there'))
    // the listener needs no address: the connection goes both ways
    b.transport.send(a.transport.nodeId, Buffer.from('and back'))
    await until('packets arrive', () => b.packets.length === 1 && a.packets.length === 1)
    assert.deepEqual(b.packets, [{ from: a.transport.nodeId, text: 'there' }])
    assert.deepEqual(a.packets, [{ from: b.transport.nodeId, text: 'and back' }])

    for (const bytes of [0, 1, 5000, 3_000_000]) {
      const body = randomBytes(bytes)
      const answer = await a.transport.request(b.transport.nodeId, 'echo', body, { timeoutMs: 30_000 })
      assert.ok(Buffer.from(answer).equals(Buffer.concat([Buffer.from(a.transport.nodeId.slice(-4)), body])), `${bytes} bytes`)
    }
    assert.equal(a.transport.stats().dials, 1)
    assert.ok(a.transport.stats().sentBytes > 3_000_000)
  })

  test('a peer with a known address is dialled when there is something to say', async (t) => {
    const [a, b] = [await openTransport(t), await openTransport(t)]
    const dead = `/ip4/127.0.0.1/udp/${await freePort()}/quic-v1`
    a.transport.setAddrs(b.transport.nodeId, [dead, b.addr])
    a.transport.send(b.transport.nodeId, Buffer.from('hello'))
    await until('it arrives', () => b.packets.length > 0)
  })

  test('requests that fail, that nobody handles, that take too long', async (t) => {
    const [a, b] = [await openTransport(t), await openTransport(t)]
    await b.transport.handle('fails', () => {
      throw new Error('the handler\nhas failed')
    })
    await b.transport.handle('hangs', () => new Promise(() => {}))
    await a.transport.connect(b.addr)
    const { nodeId } = b.transport
    await assert.rejects(a.transport.request(nodeId, 'fails', Buffer.alloc(1)), /the peer failed: the handler\?has failed/)
    await assert.rejects(a.transport.request(nodeId, 'unknown', Buffer.alloc(1)))
    await assert.rejects(a.transport.request(nodeId, 'hangs', Buffer.alloc(1), { timeoutMs: 100 }), /did not answer within 100 ms/)
    await assert.rejects(a.transport.request(nodeId, 'hangs', Buffer.alloc(5_000_000)), RangeError)
    await assert.rejects(a.transport.request('12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf' as NodeId, 'echo', Buffer.alloc(1)), hasKind('unreachable'))
  })

  test('wrong secret, deployment, region: both sides say so', async (t) => {
    const a = await openTransport(t)
    const strangers: [RefusalKind, TestTransport][] = [
      ['wrong-secret', await openTransport(t, { clusterSecrets: ['the secret of another cluster'] })],
      ['wrong-deployment', await openTransport(t, { deploymentId: 'e0'.repeat(16) as never })],
      ['wrong-region', await openTransport(t, { region: 'elsewhere' })],
    ]
    for (const [kind, stranger] of strangers) {
      await assert.rejects(a.transport.connect(stranger.addr), hasKind(kind))
      await until(`the other side says ${kind}`, () => stranger.problems.length > 0)
      assert.deepEqual(stranger.problems.map(({ peer, refusal }) => [peer, refusal.kind]), [[a.transport.nodeId, kind]])
      // and the other way round
      await assert.rejects(stranger.transport.connect(a.addr), hasKind(kind))
      assert.equal(stranger.transport.peers.size, 0)
    }
    assert.equal(a.transport.peers.size, 0)
  })

  test('its own address, also behind another one, a dead one, and what is none', async (t) => {
    const seed = randomBytes(32)
    const a = await openTransport(t, { seed })
    const copy = await openTransport(t, { seed, host: '127.0.0.2' })
    const other = await openTransport(t)
    await assert.rejects(a.transport.connect(a.addr), hasKind('own-address'))
    await assert.rejects(a.transport.connect(copy.addr), hasKind('own-address'))
    await assert.rejects(a.transport.connect(`/ip4/127.0.0.1/udp/${await freePort()}/quic-v1`), hasKind('unreachable'))
    await assert.rejects(a.transport.connect('/ip4/127.0.0.1/tcp/1'), hasKind('protocol'))
    const expected = (await identityFromSeed(randomBytes(32))).nodeId
    await assert.rejects(a.transport.connect(`${other.addr}/p2p/${expected}`), (error: Error) => error.message.includes(`another node answers there: ${other.transport.nodeId}`))
    assert.deepEqual(a.problems.map(({ refusal }) => refusal.kind), ['own-address', 'own-address', 'unreachable', 'protocol', 'unreachable'])
  })

  test('nothing is accepted of a connection that has not proven the secret', async (t) => {
    const a = await openTransport(t)
    await a.transport.handle('echo', (_, body) => body)
    const stranger = await startLibp2p({ identity: await identityFromSeed(randomBytes(32)), listen: { host: '127.0.0.1', port: 0 } })
    t.after(() => stranger.stop())
    const connection = await stranger.dial(multiaddr(a.addr))
    for (const protocol of [PACKET_PROTOCOL, requestProtocol('echo')]) {
      const stream = await connection.newStream(protocol)
      const closed = new Promise((resolve) => {
        stream.addEventListener('close', resolve)
        stream.addEventListener('remoteCloseWrite', resolve)
      })
      let received = 0
      stream.addEventListener('message', ({ data }) => {
        received += data.byteLength
      })
      stream.send(Buffer.from('\0\0\0\x05hello'))
      await closed
      assert.equal(received, 0)
    }
    assert.deepEqual(a.packets, [])
    assert.equal(a.transport.stats().receivedPackets, 0)
  })

  test('what is no node of Anvil, and one that never says a word', async (t) => {
    const a = await openTransport(t)
    const addrs = []
    for (const handles of [false, true]) {
      const stranger = await startLibp2p({ identity: await identityFromSeed(randomBytes(32)), listen: { host: '127.0.0.1', port: 0 } })
      t.after(() => stranger.stop())
      if (handles) await stranger.handle(HANDSHAKE_PROTOCOL, () => {})
      addrs.push(stranger.getMultiaddrs()[0]!.decapsulate('/p2p').toString())
    }
    await Promise.all([
      assert.rejects(a.transport.connect(addrs[0]!), (error: Error) => hasKind('protocol')(error) && error.message.includes('no node of Anvil')),
      assert.rejects(a.transport.connect(addrs[1]!), (error: Error) => hasKind('unreachable')(error) && error.message.includes('answers too late')),
    ])
  })

  test('connections that never prove themselves neither stay nor keep others out', async (t) => {
    const a = await openTransport(t)
    const stranger = await startLibp2p({ identity: await identityFromSeed(randomBytes(32)), listen: { host: '127.0.0.1', port: 0 } })
    t.after(() => stranger.stop())
    // more than are waited for at once
    const idle = await Promise.all(Array.from({ length: MAX_UNPROVEN_CONNECTIONS + 10 }, () => stranger.dial(multiaddr(a.addr), { force: true })))
    await until('the oldest are cut', () => idle.filter(({ status }) => status !== 'open').length >= 10)
    const b = await openTransport(t)
    await b.transport.connect(a.addr)
    assert.deepEqual(a.problems, [])
  })

  test('a new process of a node takes the place of the old one; the old one that comes back is a double', async (t) => {
    const seed = randomBytes(32)
    const a = await openTransport(t)
    const first = await openTransport(t, { seed, host: '127.0.0.2', processId: 'first' })
    await first.transport.connect(a.addr)
    const { nodeId } = first.transport
    await until('it is a peer', () => a.transport.peers.get(nodeId)?.processId === 'first')

    const second = await openTransport(t, { seed, host: '127.0.0.3', processId: 'second' })
    await second.transport.connect(a.addr)
    await until('the new process is the peer', () => a.transport.peers.get(nodeId)?.processId === 'second')
    await until('the old one is cut off', () => first.transport.peers.size === 0)

    await assert.rejects(first.transport.connect(a.addr), hasKind('duplicate-node'))
    await until('a says so', () => a.problems.some(({ peer, refusal }) => peer === nodeId && refusal.kind === 'duplicate-node'))
    assert.equal(a.transport.peers.get(nodeId)?.processId, 'second')
  })

  test('two that dial each other at the same time are peers', async (t) => {
    const [a, b] = [await openTransport(t), await openTransport(t)]
    await Promise.all([a.transport.connect(b.addr), b.transport.connect(a.addr)])
    for (const [from, to] of [[a, b], [b, a]] as const) {
      from.transport.send(to.transport.nodeId, Buffer.from('hello'))
      await until('it arrives', () => to.packets.length === 1)
    }
  })

  test('a peer that takes nothing costs a bounded number of waiting packets', async (t) => {
    const a = await openTransport(t)
    const nodeId = (await identityFromSeed(randomBytes(32))).nodeId
    a.transport.setAddrs(nodeId, [`/ip4/127.0.0.1/udp/${await freePort()}/quic-v1`])
    for (let i = 0; i < 500; i++) a.transport.send(nodeId, Buffer.alloc(1000))
    assert.equal(a.transport.stats().droppedPackets, 499 - 64)
    await until('all are given up', () => a.transport.stats().droppedPackets === 500)
    assert.throws(() => a.transport.send(nodeId, Buffer.alloc(70_000)), RangeError)
  })
})

const hasKind = (kind: RefusalKind) => (error: unknown): boolean => {
  assert.ok(error instanceof PeerRefusal, String(error))
  assert.equal(error.kind, kind, error.message)
  return true
}
