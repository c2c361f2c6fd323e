/** Gossip records and messages for property tests. */
import fc from 'fast-check'
import type { DriveId, PgId } from '../../src/shared/ids.ts'
import type { Message, News, SignedRecord, TableEntry } from '../../src/main/gossip/contract.ts'
import { accusationNews, eventNews, noticeNews, recordNews } from '../../src/main/gossip/news-codec.ts'
import { signRecord } from '../../src/main/gossip/record-codec.ts'
import type { MemberState } from '../../src/main/membership/contract.ts'
import { fakeKeys, nodeName, recordOf } from './gossip-net.ts'

const KNOWN = 4
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const state = fc.constantFrom<MemberState>('alive', 'suspect', 'dead', 'left')
const key = fc.integer({ min: 0, max: 2 ** 48 - 1 })
const number = fc.nat()
/** Few values, so that they meet. */
const incarnation = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 2 ** 48 }))

const drive = fc.record({
  driveId: fc.stringMatching(/^[0-9a-f]{32}$/).map((id) => id as DriveId),
  state: fc.constantFrom('online' as const, 'full' as const),
  totalBytes: fc.maxSafeNat(),
  freeBytes: fc.maxSafeNat(),
})

export const signedRecord: fc.Arbitrary<SignedRecord> = fc
  .record({
    index: fc.nat({ max: KNOWN - 1 }),
    leaving: fc.boolean(),
    part: fc.record({ incarnation, processId: fc.constantFrom('a', 'b'), zone: text, addrs: fc.array(text, { maxLength: 3 }), drives: fc.array(drive, { maxLength: 3 }), startedMs: fc.maxSafeNat() }),
  })
  .map(({ index, leaving, part }) => signRecord(recordOf(index, part), leaving, fakeKeys(index).sign))

export const news: fc.Arbitrary<News> = fc.oneof(
  signedRecord.map(recordNews),
  signedRecord.map(noticeNews),
  fc.tuple(fc.constantFrom('suspect' as const, 'dead' as const), fc.oneof(key, signedRecord.map((signed) => signed.key)), incarnation, key).map((args) => accusationNews(...args)),
  fc
    .tuple(fc.nat({ max: KNOWN }).map(nodeName), text, number, fc.oneof(text.map((name) => ({ kind: 'bucket' as const, key: name })), text.map((name) => ({ kind: 'app' as const, key: name })), number.map((id) => ({ kind: 'group' as const, pgId: id as PgId }))))
    .map((args) => eventNews(...args)),
)

const tableEntry: fc.Arbitrary<TableEntry> = fc.record({ signed: signedRecord, state, goneMs: number })
const newsList = fc.array(news, { maxLength: 5 })

export const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: fc.constant('ping' as const), number, news: newsList, view: fc.option(fc.integer({ min: 0, max: 2 ** 32 - 1 })) }),
  fc.record({ kind: fc.constantFrom('ack' as const, 'nack' as const), number, news: newsList }),
  fc.record({ kind: fc.constant('ping-request' as const), number, target: fc.nat({ max: KNOWN }).map(nodeName), news: newsList }),
  fc.record({ kind: fc.constant('gossip' as const), news: newsList }),
  fc.record({ kind: fc.constant('digest' as const), self: signedRecord, members: number, hashes: fc.nat({ max: 6 }).chain((power) => fc.uint32Array({ minLength: 2 ** power, maxLength: 2 ** power })) }),
  fc.record({
    kind: fc.constant('difference' as const),
    self: signedRecord,
    bucketCount: fc.constant(16),
    buckets: fc.uniqueArray(fc.record({ bucket: fc.nat({ max: 15 }), entries: fc.array(fc.record({ key, incarnation, state }), { maxLength: 4 }) }), { maxLength: 4, selector: ({ bucket }) => bucket }),
  }),
  fc.record({ kind: fc.constant('entries' as const), entries: fc.array(tableEntry, { maxLength: 4 }), wanted: fc.array(key, { maxLength: 4 }) }),
)
