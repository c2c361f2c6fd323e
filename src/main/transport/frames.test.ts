import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { frame, FrameDecoder, FrameError } from './frames.ts'

test('messages come out as they went in, however the stream is cut', () => {
  fc.assert(fc.property(
    fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
    fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1, maxLength: 20 }),
    (messages, cuts) => {
      const bytes = Buffer.concat(messages.map((message) => frame(message)))
      const decoder = new FrameDecoder(300)
      const out: Uint8Array[] = []
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const length = cuts[i % cuts.length]!
        out.push(...decoder.push(bytes.subarray(at, at + length)))
        at += length
      }
      assert.deepEqual(out.map((message) => Buffer.from(message)), messages.map((message) => Buffer.from(message)))
      assert.equal(decoder.unfinished, false)
    },
  ))
})

test('the parts of a message are one message', () => {
  assert.deepEqual(new FrameDecoder(8).push(frame(Buffer.from('ab'), Buffer.from('c'))).map(String), [String(Buffer.from('abc'))])
})

test('a message that is announced too long is refused before it arrives', () => {
  const decoder = new FrameDecoder(10)
  assert.throws(() => decoder.push(frame(Buffer.alloc(11)).subarray(0, 4)), FrameError)
})

test('half a message is seen', () => {
  const decoder = new FrameDecoder(10)
  assert.deepEqual(decoder.push(frame(Buffer.from('abc')).subarray(0, 5)), [])
  assert.equal(decoder.unfinished, true)
})
