import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnvilError } from '../../../shared/errors.ts'
import { RequestBody } from './request-body.ts'

function body(most = Infinity) {
  const calls: string[] = []
  const kept = { bytes: 0 }
  const take = (bytes: number): boolean => kept.bytes + bytes <= most && (kept.bytes += bytes) >= 0
  const free = (bytes: number): void => void (kept.bytes -= bytes)
  const request = new RequestBody({ pause: () => calls.push('pause'), resume: () => calls.push('resume') }, { take, free }, () => 0)
  return { request, calls, kept }
}

test('what comes before a consumer is kept, with the socket paused', async () => {
  const { request, calls, kept } = body()
  const chunk = Buffer.from('hello ')
  request.push(chunk, false)
  chunk.fill(0) // uWS takes it back
  assert.deepEqual(calls, ['pause'])
  assert.equal(kept.bytes, 6)
  const collected = request.collect(100)
  assert.equal(kept.bytes, 0)
  assert.deepEqual(calls, ['pause', 'resume'])
  request.push(Buffer.from('world'), true)
  assert.equal((await collected).toString(), 'hello world')
  assert.ok(request.complete)
})

test('a body that comes too early and does not fit is refused, and what was kept is given back', async () => {
  const { request, calls, kept } = body(10)
  request.push(Buffer.from('12345678'), false)
  request.push(Buffer.from('abcdefgh'), false)
  request.push(Buffer.from('i'), false) // would fit, but a part is lost already
  assert.equal(kept.bytes, 8)
  await assert.rejects(request.collect(100), { kind: 'SlowDown' })
  request.discard()
  assert.equal(kept.bytes, 0)
  assert.deepEqual(calls, ['pause', 'resume'])
  request.push(Buffer.from('rest'), true)
  assert.equal(kept.bytes, 0)

  const gone = body()
  gone.request.push(Buffer.from('12345678'), false)
  gone.request.fail(new Error('gone'))
  assert.equal(gone.kept.bytes, 0)
})

test('a body that was there at once needs no pause', async () => {
  const { request, calls } = body()
  request.push(Buffer.from('x'), true)
  assert.equal((await request.collect(1)).toString(), 'x')
  assert.deepEqual(calls, [])
})

test('a full sink pauses the socket until it has drained, and gets what had been read by then', async () => {
  const { request, calls } = body()
  const written: string[] = []
  let drained = Promise.withResolvers<void>()
  const piped = request.pipeTo({
    write: (chunk) => {
      written.push(Buffer.from(chunk).toString())
      return chunk[0] !== 'f'.charCodeAt(0)
    },
    drained: () => drained.promise,
  })
  request.push(Buffer.from('a'), false)
  request.push(Buffer.from('f1'), false)
  request.push(Buffer.from('b'), false)
  assert.deepEqual(written, ['a', 'f1', 'b'])
  assert.deepEqual(calls, ['pause'])
  drained.resolve()
  await drained.promise
  await Promise.resolve()
  assert.deepEqual(written, ['a', 'f1', 'b'])
  assert.deepEqual(calls, ['pause', 'resume'])
  drained = Promise.withResolvers()
  request.push(Buffer.from('f2'), true)
  let done = false
  void piped.then(() => {
    done = true
  })
  await Promise.resolve()
  assert.ok(!done)
  drained.resolve()
  await piped
  assert.deepEqual(calls, ['pause', 'resume'])
})

test('a sink that fails, and a client that goes, reject', async () => {
  const first = body()
  const piped = first.request.pipeTo({ write: () => { throw new Error('disk') }, drained: () => Promise.resolve() })
  first.request.push(Buffer.from('a'), false)
  await assert.rejects(piped, /disk/)
  first.request.push(Buffer.from('b'), false) // nobody reads it: paused
  assert.deepEqual(first.calls, ['pause'])
  first.request.discard()
  assert.deepEqual(first.calls, ['pause', 'resume'])
  first.request.push(Buffer.from('c'), true)

  const second = body()
  const collected = second.request.collect(10)
  second.request.fail(new Error('gone'))
  await assert.rejects(collected, /gone/)
  await assert.rejects(second.request.collect(10), /gone/)

  const third = body()
  const stuck = third.request.pipeTo({ write: () => false, drained: () => Promise.reject(new AnvilError('SlowDown', 'no memory')) })
  third.request.push(Buffer.from('a'), false)
  await assert.rejects(stuck, { kind: 'SlowDown' })
})

test('a document may not be larger than its limit', async () => {
  const { request } = body()
  const collected = request.collect(3)
  request.push(Buffer.from('abcd'), true)
  await assert.rejects(collected, { kind: 'EntityTooLarge' })
})
