import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { NodeId } from '../../shared/ids.ts'
import { LargeMessages, REQUESTS_AT_ONCE } from './large-messages.ts'

const peer = 'peer' as NodeId
const message = (number: number, bytes = 1): Uint8Array => new Uint8Array(bytes).fill(number)

function open() {
  const started: { number: number; settle: (error?: Error) => void }[] = []
  const lost: unknown[] = []
  const large = new LargeMessages({
    request: (_, bytes) => new Promise<void>((resolve, reject) => started.push({ number: bytes[0]!, settle: (error) => (error === undefined ? resolve() : reject(error)) })),
    lost: (_, error) => lost.push(error),
  })
  return { large, started, lost }
}

test('a table in many messages goes out a few at a time, in order, all of it', async () => {
  const { large, started, lost } = open()
  for (let i = 0; i < 50; i++) large.send(peer, message(i))
  large.send('other' as NodeId, message(99))
  assert.deepEqual(started.map(({ number }) => number), [0, 1, 2, 3, 99])
  for (let i = 0; i < 51; i++) {
    assert.ok(started.length <= i + REQUESTS_AT_ONCE + 1)
    started[i]!.settle()
    await turn()
  }
  assert.deepEqual(started.map(({ number }) => number).filter((number) => number !== 99), Array.from({ length: 50 }, (_, i) => i))
  assert.deepEqual(lost, [])
})

test('what waits for a peer that fails is dropped; the next message is tried', async () => {
  const { large, started, lost } = open()
  for (let i = 0; i < 20; i++) large.send(peer, message(i))
  for (const { settle } of started.slice()) settle(new Error('away'))
  await turn()
  assert.deepEqual([started.length, lost.length], [REQUESTS_AT_ONCE, REQUESTS_AT_ONCE])
  large.send(peer, message(77))
  assert.equal(started.at(-1)!.number, 77)
})

test('what waits is bounded', async () => {
  const { large, started, lost } = open()
  for (let i = 0; i < 40; i++) large.send(peer, message(i, 1024 * 1024))
  assert.equal(lost.length, 40 - REQUESTS_AT_ONCE - 16)
  for (let i = 0; i < started.length; i++) {
    started[i]!.settle()
    await turn()
  }
  assert.equal(started.length, REQUESTS_AT_ONCE + 16)
})
