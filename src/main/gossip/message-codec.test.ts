import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { message, signedRecord } from '../../../test/support/gossip-arbitraries.ts'
import { fakeKeys, recordOf } from '../../../test/support/gossip-net.ts'
import type { DriveId } from '../../shared/ids.ts'
import { decodeMessage, encodeMessage, messageBytes } from './message-codec.ts'
import { recordNews } from './news-codec.ts'
import { readSigned, signRecord, verifyRecord, writeSigned } from './record-codec.ts'
import { Reader, WireError, Writer } from './wire.ts'

test('a message comes back as it went, at the length that was counted for it', () => {
  fc.assert(
    fc.property(message, (sent) => {
      const bytes = encodeMessage(sent)
      assert.equal(bytes.length, messageBytes(sent))
      assert.deepEqual(plain(decodeMessage(bytes)), plain(sent))
    }),
  )
})

test('bytes that are no message give a WireError and nothing else', () => {
  const tries = (bytes: Uint8Array): void => {
    try {
      decodeMessage(bytes)
    } catch (error) {
      assert.ok(error instanceof WireError, String(error))
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), tries))
  fc.assert(
    fc.property(message, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, place, change) => {
      const bytes = encodeMessage(sent).slice()
      tries(bytes.subarray(0, place % bytes.length))
      bytes[place % bytes.length]! ^= change
      tries(bytes)
    }),
  )
  assert.throws(() => decodeMessage(new Uint8Array(300 * 1024)), WireError)
  assert.throws(() => decodeMessage(Uint8Array.of(2, 0, 0, 0)), /format version 2/)
})

test('what a newer version adds behind the known fields is passed over', () => {
  fc.assert(
    fc.property(message, fc.uint8Array({ maxLength: 20 }), (sent, more) => {
      assert.deepEqual(plain(decodeMessage(Buffer.concat([encodeMessage(sent), more]))), plain(sent))
    }),
  )
  const unknownNews = Buffer.concat([Uint8Array.of(1, 4, 2), new Writer().bytes(Uint8Array.of(99, 1, 2, 3)).end(), new Writer().bytes(Uint8Array.of(4, 0)).end()])
  assert.throws(() => decodeMessage(unknownNews), WireError)
  assert.deepEqual(decodeMessage(Buffer.concat([Uint8Array.of(1, 4, 1), new Writer().bytes(Uint8Array.of(99, 1, 2, 3)).end()])), { kind: 'gossip', news: [] })
})

test('a record with fields of a newer version is understood, checked and passed on as it came', () => {
  fc.assert(
    fc.property(signedRecord, fc.uint8Array({ minLength: 1, maxLength: 20 }), (signed, more) => {
      const newer = { ...signed, body: Buffer.concat([signed.body, more]) }
      const out = new Writer()
      writeSigned(out, newer)
      const read = readSigned(new Reader(out.end()))
      assert.deepEqual(plain(read.record), plain(signed.record))
      assert.deepEqual(Buffer.from(read.body), newer.body)
      const bodies: Uint8Array[] = []
      verifyRecord(read, (_, body) => bodies.push(body) > 0)
      assert.ok(Buffer.from(bodies[0]!).includes(newer.body))
    }),
  )
})

test('a node with sixteen drives says so within a packet', () => {
  const drives = Array.from({ length: 16 }, (_, i) => ({ driveId: String(i).padStart(32, '0') as DriveId, state: 'online' as const, totalBytes: 20e12, freeBytes: 13e12 }))
  const record = recordOf(0, { drives, addrs: ['/ip4/203.0.113.1/udp/7443/quic-v1'], grpcAddr: 'http://203.0.113.1:50051', incarnation: Date.now() })
  assert.ok(messageBytes({ kind: 'gossip', news: [recordNews(signRecord(record, false, fakeKeys(0).sign))] }) < 1200)
})

test('a record that cannot be announced is refused where it is made', () => {
  const long = { ...recordOf(0), addrs: Array.from({ length: 16 }, () => 'x'.repeat(500)) }
  assert.throws(() => signRecord(long, false, fakeKeys(0).sign), RangeError)
})

/** Buffers and Uint8Arrays of the same bytes are the same, and so are objects of different prototypes. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array || value instanceof Uint32Array || Array.isArray(value)) return Array.from(value as ArrayLike<unknown>, plain)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]))
}
