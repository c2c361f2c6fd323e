import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { test } from 'node:test'
import { PeerRefusal } from './contract.ts'
import { isDnsaddr, resolveDnsaddr } from './dnsaddr.ts'

const ID = '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf'
const IP4 = '/ip4/192.0.2.1/udp/7443/quic-v1'
const IP6 = `/ip6/2001:db8::1/udp/7443/quic-v1/p2p/${ID}`

const ZONE: Record<string, string[][]> = {
  '_dnsaddr.cluster.example': [[`dnsaddr=${IP4}`], ['v=spf1 -all'], ['dnsaddr=/ip6/2001:db8::1/udp/', `7443/quic-v1/p2p/${ID}`], ['dnsaddr=/dnsaddr/more.example'], ['dnsaddr=/ip4/192.0.2.1/tcp/4001']],
  '_dnsaddr.more.example': [['dnsaddr=/dns6/peer.example/udp/1/quic-v1']],
  '_dnsaddr.round.example': [['dnsaddr=/dnsaddr/round.example']],
}
const txt = (name: string) => (ZONE[name] === undefined ? Promise.reject(Object.assign(new Error('none'), { code: 'ENOTFOUND' })) : Promise.resolve(ZONE[name]))

test('the addresses that TXT records list, and those of lists within', async () => {
  assert.ok(isDnsaddr('/dnsaddr/cluster.example') && isDnsaddr(`/dnsaddr/cluster.example/p2p/${ID}`) && !isDnsaddr('/dnsaddr/') && !isDnsaddr('/dns/x/udp/1/quic-v1'))
  assert.deepEqual(await resolveDnsaddr('/dnsaddr/cluster.example', txt), [IP4, IP6, '/dns6/peer.example/udp/1/quic-v1'])
  assert.deepEqual(await resolveDnsaddr(`/dnsaddr/cluster.example/p2p/${ID}`, txt), [IP6], 'of one node')
})

test('a name without records, and a list that names itself', async () => {
  const refused = (text: string) => (error: unknown) => error instanceof PeerRefusal && error.kind === 'unreachable' && error.message.includes(text)
  await assert.rejects(resolveDnsaddr('/dnsaddr/other.example', txt), refused('_dnsaddr.other.example has no TXT record: ENOTFOUND'))
  await assert.rejects(resolveDnsaddr('/dnsaddr/round.example', txt), refused('name no address'))
})

test('asked of a real name server', async () => {
  const server = createSocket('udp4')
  // the question as it came, and one TXT record of 60 s (RFC 1035 §4)
  server.on('message', (question, from) => {
    const value = Buffer.from(`dnsaddr=${IP4}`)
    const answer = Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, value.length + 1, value.length, ...value])
    const head = Buffer.from([question[0]!, question[1]!, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
    const asked = question.subarray(12, question.indexOf(0, 12) + 5)
    server.send(Buffer.concat([head, asked, answer]), from.port, from.address)
  })
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const resolver = new Resolver({ timeout: 2000, tries: 2 })
    resolver.setServers([`127.0.0.1:${server.address().port}`])
    assert.deepEqual(await resolveDnsaddr('/dnsaddr/cluster.example', (name) => resolver.resolveTxt(name)), [IP4])
  } finally {
    server.close()
  }
})
