/** The promises of docs/gossip.md on a few seeds; `npm run sim` plays them on many. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Outcome, play, type Scenario } from './scenario.ts'

const calm: Scenario = {
  nodes: 100,
  seed: 1,
  seconds: 60,
  loss: 0,
  slow: 0,
  slowSeconds: 60,
  slowKind: 'cpu',
  kill: 0,
  join: 0,
  leave: 0,
  stop: 0,
  stopSeconds: 3,
  partition: 0,
  partitionSeconds: 60,
}

const run = (part: Partial<Scenario>): Outcome => {
  const outcome = play({ ...calm, ...part })
  assert.equal(outcome.falseDeaths, 0)
  assert.equal(outcome.wrongViews, 0)
  return outcome
}

for (const seed of [1, 2, 3]) {
  test(`kill -9 is known to all within 15 s, a join and a goodbye within 3 s (seed ${seed})`, () => {
    const { allKnowMs, joinKnownMs, leaveKnownMs } = run({ seed, kill: 2, join: 2, leave: 2 })
    assert.ok(Math.max(...allKnowMs) < 15_000, allKnowMs.join(' '))
    assert.ok(Math.max(...joinKnownMs, ...leaveKnownMs) < 3000, [...joinKnownMs, ...leaveKnownMs].join(' '))
  })

  test(`a tenth starved of CPU brings down no healthy node (seed ${seed})`, () => {
    run({ seed, slow: 0.1, seconds: 75 })
  })

  test(`three seconds of SIGSTOP are suspected, not held for death (seed ${seed})`, () => {
    const { stoppedDeaths, stoppedSuspected } = run({ seed, stop: 5 })
    assert.equal(stoppedDeaths, 0)
    assert.ok(stoppedSuspected > 0)
  })
}

test('30 % loss: joins and deaths become known to all', () => {
  const { allKnowMs, joinKnownMs } = run({ nodes: 50, loss: 0.3, kill: 1, join: 2, seconds: 60 })
  assert.ok(Math.max(...allKnowMs, ...joinKnownMs) < 30_000)
})

test('a partition heals by itself', () => {
  const { healedMs } = run({ partition: 0.5, partitionSeconds: 40, seconds: 90 })
  assert.ok(Math.max(...healedMs) < 30_000)
})

test('one seed is one run', () => {
  const part = { nodes: 30, kill: 1, join: 1, loss: 0.1, slow: 0.1 }
  assert.deepEqual(run(part), run(part))
})

test('a thousand members cost each what a hundred do, with as many joins and deaths', () => {
  const part = { join: 3, kill: 3, seconds: 40 }
  const small = run({ ...part, nodes: 100 })
  const large = run({ ...part, nodes: 1000 })
  assert.ok(large.bytesPerNodeSecond < 1.1 * small.bytesPerNodeSecond, `${small.bytesPerNodeSecond} ${large.bytesPerNodeSecond}`)
  assert.ok(large.messagesPerNodeSecond < 1.1 * small.messagesPerNodeSecond, `${small.messagesPerNodeSecond} ${large.messagesPerNodeSecond}`)
  assert.ok(Math.max(...large.allKnowMs) < 15_000, large.allKnowMs.join(' '))
})

test('fifteen joins a second do not keep each other waiting', () => {
  const { joinKnownMs } = run({ join: 150, seconds: 30 })
  assert.equal(joinKnownMs.length, 150)
  assert.ok(Math.max(...joinKnownMs) < 5000, `${Math.max(...joinKnownMs)}`)
})
