import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { mulberry32 } from '../../../test/support/random.ts'
import type { NodeId } from '../../shared/ids.ts'
import { DEFAULTS, shareOf, suspicionMs } from './config.ts'
import type { News } from './contract.ts'
import { accusationNews, eventNews } from './news-codec.ts'
import { NewsQueue } from './news-queue.ts'
import { ProbeOrder } from './probe-order.ts'
import { RunningClock } from './running-clock.ts'

const event = (number: number, key = `key-${number}`): News => eventNews('node-0' as NodeId, 'p', number, { kind: 'bucket', key })
const once = { times: 1, inFull: 1 }
const twice = { times: 2, inFull: 2 }
const numbersOf = (news: News[]): number[] => news.map((item) => (item.kind === 'event' ? item.number : -1))

test('news: the newest first, then what was sent least, and gone after its share', () => {
  const queue = new NewsQueue()
  for (let i = 1; i <= 3; i++) queue.push(`t${i}`, event(i), () => true)
  const two = 2 * event(1).bytes
  assert.deepEqual(numbersOf(queue.take(two, twice, 1200)), [3, 2])
  assert.deepEqual(numbersOf(queue.take(two, twice, 1200)), [1, 3])
  queue.push('t4', event(4), () => true)
  assert.deepEqual(numbersOf(queue.take(1200, twice, 1200)), [4, 1, 2])
  assert.deepEqual(numbersOf(queue.take(1200, twice, 1200)), [4])
  assert.equal(queue.size, 0)
})

test('news of one topic is replaced as its sender says; what fits in no packet goes alone', () => {
  const queue = new NewsQueue()
  queue.push('node', accusationNews('suspect', 1, 1, 2), () => false)
  queue.push('node', accusationNews('suspect', 1, 1, 3), () => false)
  assert.equal(queue.size, 2)
  queue.push('node', accusationNews('dead', 1, 1, 3), ({ kind }) => kind === 'suspect')
  assert.deepEqual(queue.take(1200, once, 1200).map(({ kind }) => kind), ['dead'])
  queue.push('small', event(1), () => true)
  queue.push('large', event(2, 'x'.repeat(500)), () => true)
  assert.deepEqual(numbersOf(queue.take(400, once, 400)), [2])
  assert.deepEqual(numbersOf(queue.take(400, once, 400)), [1])
})

test('news: after its share in full the brief form goes, or nothing', () => {
  const queue = new NewsQueue()
  const share = { times: 4, inFull: 2 }
  const kindsOf = (news: News[]): string => news.map(({ kind }) => kind).join()
  queue.push('long', event(1), () => true, accusationNews('suspect', 1, 1, 2))
  assert.deepEqual(Array.from({ length: 5 }, () => kindsOf(queue.take(1200, share, 1200))), ['event', 'event', 'suspect', 'suspect', ''])
  queue.push('some', event(2), () => true, null)
  assert.deepEqual(Array.from({ length: 3 }, () => kindsOf(queue.take(1200, share, 1200))), ['event', 'event', ''])
  assert.equal(queue.size, 0)
  // In a place too small for the whole the brief form may still go.
  queue.push('long', event(3), () => true, accusationNews('suspect', 1, 1, 2))
  queue.take(1200, share, 1200)
  queue.take(1200, share, 1200)
  assert.equal(queue.fullBytes, event(3).bytes)
  assert.equal(kindsOf(queue.take(30, share, 1200)), 'suspect')
  queue.take(1200, share, 1200)
  assert.equal(queue.fullBytes, 0)
})

test('news: memory is bounded', () => {
  const queue = new NewsQueue()
  for (let i = 0; i < 10_000; i++) queue.push(`t${i}`, event(i), () => true)
  assert.equal(queue.size, 4096)
  assert.deepEqual(numbersOf(queue.take(event(9999).bytes, { times: 9, inFull: 9 }, 1200)), [9999])
})

test('probe order: each once in a round, newcomers in the round that is under way', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 40 }), fc.nat({ max: 39 }), fc.nat({ max: 5 }), (seed, size, at, more) => {
      const order = new ProbeOrder(mulberry32(seed))
      const seen: number[] = []
      const grown = at < size ? size + more : size
      for (let step = 0; ; step++) {
        const next = order.next(step >= at ? grown : size)
        if (next === null) break
        seen.push(next)
      }
      assert.deepEqual(seen.toSorted((a, b) => a - b), Array.from({ length: grown }, (_, i) => i))
    }),
  )
})

test('running clock: time without CPU does not count', () => {
  const clock = new RunningClock(0)
  clock.want(1000)
  assert.equal(clock.advance(1050), 0)
  assert.equal(clock.timeMs, 1050)
  clock.want(2000)
  assert.equal(clock.advance(9000), 7000)
  assert.equal(clock.timeMs, 2000)
  assert.equal(clock.verdictsFromMs, 2250)
  assert.equal(clock.want(2500), 9500)
  // Mail that is read after a late start is no second delay.
  assert.equal(clock.advance(9020), 0)
  assert.equal(clock.advance(8000), 0)
  assert.equal(clock.timeMs, 2020)
})

test('a piece of news is sent no more often among ten thousand than among hundreds, and among few to each', () => {
  assert.deepEqual([2, 10, 17, 50, 100, 1000, 10_000].map((members) => shareOf(DEFAULTS, members, 0).times), [4, 9, 16, 8, 12, 12, 12])
  assert.deepEqual([10, 17, 100, 10_000].map((members) => shareOf(DEFAULTS, members, 0).inFull), [9, 16, 6, 6])
  assert.deepEqual([3000, 3600, 7200, 20_000, 1e6].map((waitingBytes) => shareOf(DEFAULTS, 1000, waitingBytes).inFull), [6, 6, 3, 1, 1])
})

test('suspicion: from six times the least down to it, as others confirm', () => {
  const times = [0, 1, 2, 3, 4].map((confirmations) => Math.round(suspicionMs(DEFAULTS, 100, confirmations)))
  assert.deepEqual(times, [48_000, 28_000, 16_301, 8000, 8000])
  assert.deepEqual([10, 17, 1000, 10_000].map((members) => suspicionMs(DEFAULTS, members, 3)), [5000, 5000, 9000, 10_000])
  assert.equal(suspicionMs(DEFAULTS, 2, 0), DEFAULTS.suspicionFloorMs)
  assert.equal(suspicionMs(DEFAULTS, 3, 1), DEFAULTS.suspicionFloorMs)
})
