/** What a member that lies, or is broken, can do to another: little, and nothing that grows without bound. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeKeys, nodeName, recordOf } from '../../../test/support/gossip-net.ts'
import { mulberry32 } from '../../../test/support/random.ts'
import type { NodeId } from '../../shared/ids.ts'
import { DEFAULTS, suspicionMs } from './config.ts'
import type { Message, Output, SignedRecord, SwimConfig } from './contract.ts'
import { accusationNews, recordNews } from './news-codec.ts'
import { memberKey, signRecord } from './record-codec.ts'
import { Swim } from './swim.ts'

const START_MS = 1_000_000

class One {
  nowMs = START_MS
  readonly swim: Swim
  readonly log: Output[] = []

  constructor(members: number, config: Partial<SwimConfig> = {}) {
    this.swim = new Swim({ self: recordOf(0, { incarnation: 1 }), config, random: mulberry32(1), nowMs: this.nowMs, ...fakeKeys(0) })
    const entries = Array.from({ length: members }, (_, i) => ({ signed: signedBy(i + 1), state: 'alive' as const, goneMs: 0 }))
    this.hear({ kind: 'entries', entries, wanted: [] })
  }

  hear(message: Message, from = nodeName(1)): void {
    this.swim.receive(message, from, this.nowMs)
    this.log.push(...this.swim.drain())
  }

  /** All others answer nothing. */
  pass(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs = Math.min(endMs, Math.max(this.nowMs + 1, this.swim.nextTickMs))
      this.swim.tick(this.nowMs)
      this.log.push(...this.swim.drain())
    }
  }

  sent(kind: Message['kind']): Message[] {
    return this.log.filter((output) => output.kind === 'send').map(({ message }) => message).filter((message) => message.kind === kind)
  }

  state(node: NodeId): string | undefined {
    return this.swim.member(node)?.state
  }
}

const signedBy = (index: number, incarnation = 1): SignedRecord => signRecord(recordOf(index, { incarnation }), false, fakeKeys(index).sign)
/** Nothing happens by itself. */
const STILL = { probeIntervalMs: 1e9, exchangeIntervalMs: 1e9, reconnectIntervalMs: 1e9 }

test('made-up members fill the table to its bound and no further', () => {
  const one = new One(0, { ...STILL, maxMembers: 20 })
  for (let i = 1; i < 200; i++) one.hear(i % 2 === 0 ? { kind: 'gossip', news: [recordNews(signedBy(i))] } : { kind: 'entries', entries: [{ signed: signedBy(i), state: i % 3 === 0 ? 'dead' : 'alive', goneMs: 0 }], wanted: [] })
  assert.equal([...one.swim.members()].length, 20)
  assert.equal(one.log.filter((output) => output.kind === 'problem' && output.text.includes('no more')).length, 1)
  // Who is known already may still change.
  one.hear({ kind: 'gossip', news: [recordNews(signedBy(1, 7))] })
  assert.equal(one.swim.member(nodeName(1))!.incarnation, 7)
})

test('views that always differ lead to ever rarer comparisons, until one agrees', () => {
  const one = new One(4, STILL)
  one.pass(5000)
  const mine = one.sent('digest').length
  const ping = (view: number): void => one.hear({ kind: 'ping', number: 1, news: [], view }, nodeName(2))
  for (let i = 0; i < 600; i++) {
    one.pass(100)
    ping(12345)
  }
  const asked = one.sent('digest').length - mine
  assert.ok(asked >= 5 && asked <= 9, String(asked))
})

test('tables that tell of a suspicion confirm it once, whoever sends them', () => {
  const one = new One(100, STILL)
  const key = memberKey(nodeName(50))
  one.pass(11_000)
  one.hear({ kind: 'gossip', news: [accusationNews('suspect', key, 1, memberKey(nodeName(60)))] })
  for (let i = 1; i <= 10; i++) one.hear({ kind: 'entries', entries: [{ signed: signedBy(50), state: 'suspect', goneMs: 0 }], wanted: [] }, nodeName(i))
  one.pass(suspicionMs(DEFAULTS, 101, 1) - 500)
  assert.equal(one.state(nodeName(50)), 'suspect')
  one.pass(1000)
  assert.equal(one.state(nodeName(50)), 'dead')
})

test('one accuser is one, however often and in however many messages it accuses', () => {
  const one = new One(100, STILL)
  const news = [accusationNews('suspect', memberKey(nodeName(50)), 1, memberKey(nodeName(60)))]
  for (let i = 1; i <= 10; i++) one.hear({ kind: 'gossip', news }, nodeName(i))
  one.pass(suspicionMs(DEFAULTS, 101, 0) - 500)
  assert.equal(one.state(nodeName(50)), 'suspect')
  one.hear({ kind: 'gossip', news: [recordNews(signedBy(50, 2))] })
  one.pass(60_000)
  assert.equal(one.state(nodeName(50)), 'alive')
})

test('a wrong age of a death makes it forgotten early at most; a living member it does not touch', () => {
  const one = new One(3, STILL)
  one.hear({ kind: 'gossip', news: [accusationNews('dead', memberKey(nodeName(2)), 1, memberKey(nodeName(1)))] })
  const entries = [2, 3].map((index) => ({ signed: signedBy(index), state: 'dead' as const, goneMs: Number.MAX_SAFE_INTEGER }))
  one.hear({ kind: 'entries', entries, wanted: [] })
  assert.deepEqual([one.state(nodeName(2)), one.state(nodeName(3))], ['dead', 'suspect'])
  one.pass(61_000)
  assert.deepEqual([one.state(nodeName(2)), one.state(nodeName(3))], [undefined, 'dead'])
})
