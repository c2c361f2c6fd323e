import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress, parseAddress, resolveAddress } from './addresses.ts'
import { PeerRefusal } from './contract.ts'

const ID = '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf'

test('addresses of peers', () => {
  assert.deepEqual(parseAddress('/ip4/192.0.2.1/udp/7443/quic-v1'), { family: 'ip', host: '192.0.2.1', port: 7443, nodeId: null })
  assert.deepEqual(parseAddress(`/ip6/2001:db8::1/udp/1/quic-v1/p2p/${ID}`), { family: 'ip', host: '2001:db8::1', port: 1, nodeId: ID })
  assert.deepEqual(parseAddress('/dns4/peer.example/udp/7443/quic-v1'), { family: 'dns4', host: 'peer.example', port: 7443, nodeId: null })
})

test('what is no address of a peer', () => {
  for (const text of [
    '', '/ip4/192.0.2.1/tcp/7443', '/ip4/192.0.2.256/udp/7443/quic-v1', '/ip4/::1/udp/7443/quic-v1', '/ip6/192.0.2.1/udp/1/quic-v1',
    '/ip4/192.0.2.1/udp/0/quic-v1', '/ip4/192.0.2.1/udp/65536/quic-v1', '/ip4/192.0.2.1/udp/1/quic', `/ip4/192.0.2.1/udp/1/quic-v1/p2p/${ID}x`,
    '/ip4/192.0.2.1/udp/1/quic-v1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC', '/ip4/192.0.2.1/udp/1/quic-v1/p2p-circuit',
  ]) assert.equal(parseAddress(text), null, text)
})

test('addresses are written as they are read', () => {
  for (const text of ['/ip4/192.0.2.1/udp/7443/quic-v1', `/ip6/2001:db8::1/udp/1/quic-v1/p2p/${ID}`]) {
    const { host, port, nodeId } = parseAddress(text)!
    assert.equal(formatAddress(host, port, nodeId), text)
  }
})

test('names are looked up; one without an address is unreachable', async () => {
  const [found] = await resolveAddress(parseAddress('/dns4/localhost/udp/5/quic-v1')!)
  assert.deepEqual(found, { host: '127.0.0.1', port: 5 })
  await assert.rejects(resolveAddress(parseAddress('/dns4/no-such-host.invalid/udp/5/quic-v1')!), (error) => error instanceof PeerRefusal && error.kind === 'unreachable')
})
