/** News waiting to be passed on: what was sent least goes first, of these the newest. Each piece is sent O(log n) times. */
import type { Share } from './config.ts'
import type { News } from './contract.ts'

interface Item {
  readonly news: News
  /** What is sent in its place once it was sent often enough in full; null: nothing more. */
  readonly brief: News | null
  readonly topic: string
  stale: boolean
}

/** Beyond this, the oldest of what was sent most is let go: exchanges of tables bring it round. */
const MAX_ITEMS = 4096
/** How many may be passed over because they do not fit in what is left of the packet. */
const MAX_MISFITS = 8

export class NewsQueue {
  /** By how often they were sent; the newest at the end. */
  private tiers: Item[][] = []
  private readonly topics = new Map<string, Item[]>()
  private count = 0
  private fullBytes_ = 0

  get size(): number {
    return this.count
  }

  /** What the news that has a brief form takes in full. */
  get fullBytes(): number {
    return this.fullBytes_
  }

  /**
   * @param replaces which of the waiting news of this topic it makes worthless
   * @param brief what is enough for whoever has heard of it; null: nothing, most knowing it will do
   */
  push(topic: string, news: News, replaces: (old: News) => boolean, brief: News | null = news): void {
    for (const item of this.topics.get(topic)?.filter(({ news: old }) => replaces(old)) ?? []) this.drop(item)
    if (this.count >= MAX_ITEMS) this.dropOldest()
    const item: Item = { news, brief, topic, stale: false }
    this.tier(0).push(item)
    const items = this.topics.get(topic)
    if (items === undefined) this.topics.set(topic, [item])
    else items.push(item)
    this.count++
    if (hasBrief(item)) this.fullBytes_ += news.bytes
  }

  /**
   * News for one packet, `budgetBytes` in all, counted as sent once more; what was sent `times` times leaves, and after
   * `inFull` times its brief form goes. A piece that is larger than any packet goes alone.
   */
  take(budgetBytes: number, { times, inFull }: Share, packetBytes: number): News[] {
    const taken: Item[] = []
    const news: News[] = []
    const tiers: number[] = []
    let left = budgetBytes
    let misfits = 0
    for (let sent = 0; sent < this.tiers.length && misfits < MAX_MISFITS; sent++) {
      const tier = this.tiers[sent]!
      let staleSeen = false
      for (let i = tier.length - 1; i >= 0 && misfits < MAX_MISFITS; i--) {
        const item = tier[i]!
        if (item.stale) {
          staleSeen = true
          continue
        }
        const form = sent < inFull ? item.news : item.brief ?? item.news
        const alone = form.bytes > packetBytes && taken.length === 0 && left === budgetBytes
        if (form.bytes > left && !alone) {
          misfits++
          continue
        }
        left -= form.bytes
        item.stale = true
        staleSeen = true
        taken.push(item)
        news.push(form)
        tiers.push(sent)
        if (alone) misfits = MAX_MISFITS
      }
      if (staleSeen) this.tiers[sent] = tier.filter(({ stale }) => !stale)
    }
    // From behind, so that the newest is at the end again.
    for (let i = taken.length - 1; i >= 0; i--) this.sentOnce(taken[i]!, tiers[i]! + 1, taken[i]!.brief === null ? Math.min(inFull, times) : times)
    return news
  }

  private sentOnce(item: Item, times: number, limit: number): void {
    if (times >= limit) {
      this.forget(item)
      return
    }
    item.stale = false
    this.tier(times).push(item)
  }

  private tier(sent: number): Item[] {
    while (this.tiers.length <= sent) this.tiers.push([])
    return this.tiers[sent]!
  }

  private dropOldest(): void {
    for (let sent = this.tiers.length - 1; sent >= 0; sent--) {
      const oldest = this.tiers[sent]!.find(({ stale }) => !stale)
      if (oldest === undefined) continue
      this.drop(oldest)
      this.tiers[sent] = this.tiers[sent]!.filter(({ stale }) => !stale)
      return
    }
  }

  private drop(item: Item): void {
    item.stale = true
    this.forget(item)
  }

  private forget(item: Item): void {
    this.count--
    if (hasBrief(item)) this.fullBytes_ -= item.news.bytes
    const items = this.topics.get(item.topic)!.filter((other) => other !== item)
    if (items.length === 0) this.topics.delete(item.topic)
    else this.topics.set(item.topic, items)
  }
}

const hasBrief = ({ news, brief }: Item): boolean => brief !== null && brief !== news
