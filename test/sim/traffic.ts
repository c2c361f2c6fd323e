/** What goes over the wire, by what it is for: where the bytes of each node go. */
import type { Message, News } from '../../src/main/gossip/contract.ts'
import { messageBytes } from '../../src/main/gossip/message-codec.ts'

export interface Count {
  count: number
  bytes: number
}

export interface Traffic {
  /** By message kind, without the news they carry; tables for newcomers apart. */
  messages: Record<string, Count>
  /** By the kind of news. */
  news: Record<string, Count>
}

type Carrier = Message['kind'] | 'table for a newcomer'

export class TrafficMeter {
  private readonly messages = new Map<Carrier, Count>()
  private readonly news = new Map<News['kind'], Count>()

  /** @returns the message's length in bytes */
  add(message: Message, toNewcomer: boolean): number {
    const bytes = messageBytes(message)
    let newsBytes = 0
    if ('news' in message) {
      for (const news of message.news) {
        newsBytes += news.bytes
        countOf(this.news, news.kind, news.bytes)
      }
    }
    countOf(this.messages, toNewcomer && message.kind === 'entries' ? 'table for a newcomer' : message.kind, bytes - newsBytes)
    return bytes
  }

  /** As plain data, to be compared and added up. */
  get traffic(): Traffic {
    return { messages: plain(this.messages), news: plain(this.news) }
  }
}

export function addUp(all: readonly Traffic[]): Traffic {
  const sum: Traffic = { messages: {}, news: {} }
  for (const traffic of all) {
    for (const part of ['messages', 'news'] as const) {
      for (const [kind, { count, bytes }] of Object.entries(traffic[part])) {
        const total = (sum[part][kind] ??= { count: 0, bytes: 0 })
        total.count += count
        total.bytes += bytes
      }
    }
  }
  return sum
}

function countOf<K>(counts: Map<K, Count>, kind: K, bytes: number): void {
  const count = counts.get(kind)
  if (count === undefined) counts.set(kind, { count: 1, bytes })
  else {
    count.count++
    count.bytes += bytes
  }
}

const plain = (counts: Map<string, Count>): Record<string, Count> => Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
