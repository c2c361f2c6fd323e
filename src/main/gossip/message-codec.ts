/**
 * Messages as bytes: a format version, a kind, the fields. One version back is understood by all (DESIGN §12); what a newer
 * one adds stands behind the known fields and is not read.
 */
import { MAX_GOSSIP_MESSAGE_BYTES } from '../../shared/limits.ts'
import type { MemberState } from '../membership/contract.ts'
import type { DigestEntry, Message, News, TableEntry } from './contract.ts'
import { readNews, writeNews } from './news-codec.ts'
import { MAX_INCARNATION, readNodeId, readSigned, writeSigned } from './record-codec.ts'
import { numberBytes, prefixedBytes, Reader, textBytes, WireError, Writer } from './wire.ts'

const VERSION = 1
const KINDS = ['ping', 'ack', 'ping-request', 'nack', 'gossip', 'digest', 'difference', 'entries'] as const satisfies Message['kind'][]
const STATES = ['alive', 'suspect', 'dead', 'left'] as const satisfies MemberState[]
/** With any number of members: the hashes fit a packet, and a bucket that differs is 2 KB of digests with ten thousand. */
export const MAX_BUCKETS = 64
/** Version, kind, and the number of a ping or its like at its longest. */
export const PACKET_HEAD_BYTES = 12
/** What a ping has besides: whether there is a view, and the view. */
export const PING_VIEW_BYTES = 5
const MAX_NEWS = 1024

export function encodeMessage(message: Message): Uint8Array {
  const out = new Writer(1280).byte(VERSION).byte(KINDS.indexOf(message.kind))
  switch (message.kind) {
    case 'ping':
      writeList(out.number(message.number), message.news)
      if (message.view === null) out.byte(0)
      else out.byte(1).uint32(message.view)
      break
    case 'ack':
    case 'nack':
      writeList(out.number(message.number), message.news)
      break
    case 'ping-request':
      writeList(out.number(message.number).text(message.target), message.news)
      break
    case 'gossip':
      writeList(out, message.news)
      break
    case 'digest':
      writeSigned(out, message.self)
      out.number(message.members).number(message.hashes.length)
      for (const hash of message.hashes) out.uint32(hash)
      break
    case 'difference':
      writeSigned(out, message.self)
      out.number(message.bucketCount).number(message.buckets.length)
      for (const { bucket, entries } of message.buckets) {
        out.number(bucket).number(entries.length)
        for (const { key, incarnation, state } of entries) out.key(key).number(incarnation).byte(STATES.indexOf(state))
      }
      break
    case 'entries':
      out.number(message.entries.length)
      for (const { signed, state, goneMs } of message.entries) writeSigned(out.byte(STATES.indexOf(state)).number(goneMs), signed)
      out.number(message.wanted.length)
      for (const key of message.wanted) out.key(key)
  }
  return out.end()
}

/** What {@link encodeMessage} would give, without making it. */
export function messageBytes(message: Message): number {
  switch (message.kind) {
    case 'ping':
      return 2 + numberBytes(message.number) + newsBytes(message.news) + (message.view === null ? 1 : PING_VIEW_BYTES)
    case 'ack':
    case 'nack':
      return 2 + numberBytes(message.number) + newsBytes(message.news)
    case 'ping-request':
      return 2 + numberBytes(message.number) + textBytes(message.target) + newsBytes(message.news)
    case 'gossip':
      return 2 + newsBytes(message.news)
    case 'digest':
      return 2 + signedBytes(message.self) + numberBytes(message.members) + numberBytes(message.hashes.length) + 4 * message.hashes.length
    case 'difference':
      return message.buckets.reduce(
        (sum, { bucket, entries }) => sum + numberBytes(bucket) + numberBytes(entries.length) + entries.reduce((bytes, entry) => bytes + digestEntryBytes(entry), 0),
        2 + signedBytes(message.self) + numberBytes(message.bucketCount) + numberBytes(message.buckets.length),
      )
    case 'entries':
      return message.entries.reduce(
        (sum, entry) => sum + tableEntryBytes(entry),
        2 + numberBytes(message.entries.length) + numberBytes(message.wanted.length) + 6 * message.wanted.length,
      )
  }
}

export const digestEntryBytes = ({ incarnation }: DigestEntry): number => 7 + numberBytes(incarnation)
export const tableEntryBytes = ({ signed, goneMs }: TableEntry): number => 1 + numberBytes(goneMs) + signedBytes(signed)

/** @throws WireError when the bytes are no message of this format, or more than MAX_GOSSIP_MESSAGE_BYTES */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length > MAX_GOSSIP_MESSAGE_BYTES) throw new WireError(`a message of ${bytes.length} bytes`)
  const input = new Reader(bytes)
  const version = input.byte()
  if (version !== VERSION) throw new WireError(`format version ${version}; this node knows ${VERSION}`)
  const kind = KINDS[input.byte()]
  if (kind === undefined) throw new WireError('a kind of message that this version does not know')
  switch (kind) {
    case 'ping':
      return { kind, number: input.number(), news: readList(input), view: input.left > 0 && input.byte() === 1 ? input.uint32() : null }
    case 'ack':
    case 'nack':
      return { kind, number: input.number(), news: readList(input) }
    case 'ping-request':
      return { kind, number: input.number(), target: readNodeId(input), news: readList(input) }
    case 'gossip':
      return { kind, news: readList(input) }
    case 'digest': {
      const self = readSigned(input)
      const members = input.number()
      const count = readBucketCount(input)
      return { kind, self, members, hashes: Uint32Array.from({ length: count }, () => input.uint32()) }
    }
    case 'difference': {
      const self = readSigned(input)
      const bucketCount = readBucketCount(input)
      const buckets = readArray(input, bucketCount, () => ({
        bucket: input.number(bucketCount - 1),
        entries: readArray(input, input.left, () => ({ key: input.key(), incarnation: input.number(MAX_INCARNATION), state: readState(input) })),
      }))
      return { kind, self, bucketCount, buckets }
    }
    case 'entries': {
      const entries = readArray(input, input.left, () => {
        const state = readState(input)
        const goneMs = input.number()
        return { signed: readSigned(input), state, goneMs }
      })
      return { kind, entries, wanted: readArray(input, input.left, () => input.key()) }
    }
  }
}

const signedBytes = ({ body, signature }: { body: Uint8Array; signature: Uint8Array }): number => prefixedBytes(body.length) + prefixedBytes(signature.length)

function newsBytes(news: readonly News[]): number {
  let bytes = numberBytes(news.length)
  for (const item of news) bytes += item.bytes
  return bytes
}

function writeList(out: Writer, news: readonly News[]): void {
  out.number(news.length)
  for (const item of news) writeNews(out, item)
}

const readList = (input: Reader): News[] => readArray(input, MAX_NEWS, () => readNews(input)).filter((news) => news !== null)

function readArray<T>(input: Reader, max: number, read: () => T): T[] {
  const count = input.number(max)
  const items: T[] = []
  // Grows with what is really there: a count alone reserves nothing.
  while (items.length < count) items.push(read())
  return items
}

function readBucketCount(input: Reader): number {
  const count = input.number(MAX_BUCKETS)
  if (count === 0 || (count & (count - 1)) !== 0) throw new WireError(`${count} buckets, not a power of two`)
  return count
}

/** A state that only a newer version knows counts as suspicion: it will be looked at. */
const readState = (input: Reader): MemberState => STATES[input.byte()] ?? 'suspect'
