/** News: what one member learnt and the others are to learn, each with its length before it, so that unknown kinds are passed over. */
import type { NodeId, PgId } from '../../shared/ids.ts'
import type { ClusterEvent } from '../membership/contract.ts'
import type { News, SignedRecord } from './contract.ts'
import { MAX_INCARNATION, readNodeId, readSigned, writeSigned } from './record-codec.ts'
import { numberBytes, prefixedBytes, Reader, textBytes, type Writer } from './wire.ts'

const RECORD = 1
const SUSPECT = 2
const DEAD = 3
const EVENT = 4
const NOTICE = 5
const EVENT_KINDS = ['app', 'bucket', 'group'] as const
const MAX_NEWS_BYTES = 8192
const MAX_EVENT_KEY_BYTES = 512
const MAX_PROCESS_BYTES = 128

export function recordNews(signed: SignedRecord): News {
  return { kind: 'record', signed, bytes: prefixedBytes(1 + prefixedBytes(signed.body.length) + prefixedBytes(signed.signature.length)) }
}

export function accusationNews(kind: 'suspect' | 'dead', member: number, incarnation: number, by: number): News {
  return { kind, member, incarnation, by, bytes: prefixedBytes(13 + numberBytes(incarnation)) }
}

export function noticeNews({ key, record: { incarnation } }: SignedRecord): News {
  return { kind: 'notice', member: key, incarnation, bytes: prefixedBytes(7 + numberBytes(incarnation)) }
}

/** @throws RangeError when the event's key is longer than any app's or bucket's name */
export function eventNews(origin: NodeId, process: string, number: number, event: ClusterEvent): News {
  if (event.kind !== 'group' && Buffer.byteLength(event.key) > MAX_EVENT_KEY_BYTES) throw new RangeError('the key of a cluster event is too long')
  const payload = event.kind === 'group' ? numberBytes(event.pgId) : textBytes(event.key)
  return { kind: 'event', origin, process, number, event, bytes: prefixedBytes(2 + textBytes(origin) + textBytes(process) + numberBytes(number) + payload) }
}

export function writeNews(out: Writer, news: News): void {
  out.number(contentBytes(news.bytes))
  switch (news.kind) {
    case 'record':
      writeSigned(out.byte(RECORD), news.signed)
      return
    case 'suspect':
    case 'dead':
      out.byte(news.kind === 'suspect' ? SUSPECT : DEAD).key(news.member).number(news.incarnation).key(news.by)
      return
    case 'notice':
      out.byte(NOTICE).key(news.member).number(news.incarnation)
      return
    case 'event':
      out.byte(EVENT).text(news.origin).text(news.process).number(news.number).byte(EVENT_KINDS.indexOf(news.event.kind))
      if (news.event.kind === 'group') out.number(news.event.pgId)
      else out.text(news.event.key)
  }
}

/** null: of a newer version. @throws WireError */
export function readNews(input: Reader): News | null {
  const item = new Reader(input.bytes(MAX_NEWS_BYTES))
  const kind = item.byte()
  switch (kind) {
    case RECORD:
      return recordNews(readSigned(item))
    case SUSPECT:
    case DEAD:
      return accusationNews(kind === SUSPECT ? 'suspect' : 'dead', item.key(), item.number(MAX_INCARNATION), item.key())
    case NOTICE: {
      const member = item.key()
      const incarnation = item.number(MAX_INCARNATION)
      return { kind: 'notice', member, incarnation, bytes: prefixedBytes(7 + numberBytes(incarnation)) }
    }
    case EVENT: {
      const origin = readNodeId(item)
      const process = item.text(MAX_PROCESS_BYTES)
      const number = item.number()
      const event = readEvent(item)
      return event === null ? null : eventNews(origin, process, number, event)
    }
    default:
      return null
  }
}

function readEvent(item: Reader): ClusterEvent | null {
  const kind = EVENT_KINDS[item.byte()]
  if (kind === undefined) return null
  return kind === 'group' ? { kind, pgId: item.number() as PgId } : { kind, key: item.text(MAX_EVENT_KEY_BYTES) }
}

/** From a length with its prefix to the length alone. */
function contentBytes(bytes: number): number {
  for (let prefix = 1; ; prefix++) if (prefixedBytes(bytes - prefix) === bytes) return bytes - prefix
}
