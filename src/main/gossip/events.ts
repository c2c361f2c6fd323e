/** Cluster events: each goes round as news, and is handed to this node's driver once. */
import type { ClusterEvent } from '../membership/contract.ts'
import type { News } from './contract.ts'
import type { Core } from './core.ts'
import { eventNews } from './news-codec.ts'

/** Names of events that went by. One that comes round after so many others is handed out twice, which does no harm. */
const MAX_SEEN = 16_384

export class Events {
  private readonly core: Core
  private readonly process: string
  private readonly seen = new Set<string>()
  private lastNumber = 0

  constructor(core: Core, process: string) {
    this.core = core
    this.process = process
  }

  broadcast(event: ClusterEvent): void {
    this.passOn(eventNews(this.core.selfId, this.process, ++this.lastNumber, event) as Extract<News, { kind: 'event' }>)
  }

  heard(news: Extract<News, { kind: 'event' }>): void {
    if (news.origin === this.core.selfId && news.process === this.process) return
    const name = `${news.origin}/${news.process}/${news.number}`
    if (this.seen.has(name)) return
    this.seen.add(name)
    if (this.seen.size > MAX_SEEN) this.seen.delete(this.seen.values().next().value!)
    this.core.output({ kind: 'event', from: news.origin, event: news.event })
    this.passOn(news)
  }

  /** A newer event about the same thing from the same node says all that the older one did. */
  private passOn(news: Extract<News, { kind: 'event' }>): void {
    const { event, origin } = news
    this.core.tell(`${origin}/${event.kind}/${event.kind === 'group' ? event.pgId : event.key}`, news, () => true)
  }
}
