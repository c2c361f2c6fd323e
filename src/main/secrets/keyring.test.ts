import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { createKeyring, keyId, KeyringError, keyVerifier, verifierMatches } from './keyring.ts'

const keyOf = (key: Buffer) => ({ id: keyId(key), key })
const first = keyOf(Buffer.alloc(32, 1))
const second = keyOf(Buffer.alloc(32, 2))

test('what was wrapped unwraps, for its purpose only', () => {
  const ring = createKeyring([first])
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), fc.string(), (bytes, purpose, other) => {
      const { keyId: id, wrapped } = ring.wrap(Buffer.from(bytes), purpose)
      assert.deepEqual(new Uint8Array(ring.unwrap(id, wrapped, purpose)), bytes)
      if (other !== purpose) assert.throws(() => ring.unwrap(id, wrapped, other), KeyringError)
    }),
    { numRuns: 200 },
  )
})

test('any changed bit is found', () => {
  const ring = createKeyring([first])
  const { keyId: id, wrapped } = ring.wrap(Buffer.from('secret'), 'p')
  const bytes = Buffer.from(wrapped, 'base64')
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes)
    changed[bit >> 3]! ^= 1 << (bit & 7)
    assert.throws(() => ring.unwrap(id, changed.toString('base64'), 'p'), KeyringError)
  }
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => ring.unwrap(id, bytes.subarray(0, length).toString('base64'), 'p'), KeyringError)
  }
})

test('while keys rotate, the first wraps and all unwrap', () => {
  const old = createKeyring([first]).wrap(Buffer.from('a'), 'p')
  const both = createKeyring([second, first])
  assert.equal(both.unwrap(old.keyId, old.wrapped, 'p').toString(), 'a')
  const fresh = both.wrap(Buffer.from('b'), 'p')
  assert.equal(fresh.keyId, second.id)
  assert.throws(() => createKeyring([first]).unwrap(fresh.keyId, fresh.wrapped, 'p'), /does not list/)
})

test('a wrapped secret says nothing: two of the same differ', () => {
  const ring = createKeyring([first])
  assert.notEqual(ring.wrap(Buffer.from('a'), 'p').wrapped, ring.wrap(Buffer.from('a'), 'p').wrapped)
})

test('a ring of threads: keys that crossed as plain bytes work', () => {
  const crossed = structuredClone(first)
  const wrapped = createKeyring([first]).wrap(Buffer.from('a'), 'p')
  assert.equal(createKeyring([crossed]).unwrap(wrapped.keyId, wrapped.wrapped, 'p').toString(), 'a')
})

test('a verifier belongs to one key and one deployment', () => {
  const verifier = keyVerifier(first.key, 'd1')
  assert.ok(verifierMatches(first.key, 'd1', verifier))
  assert.ok(!verifierMatches(first.key, 'd2', verifier))
  assert.ok(!verifierMatches(second.key, 'd1', verifier))
  assert.ok(!verifierMatches(first.key, 'd1', randomBytes(31)))
})

test('ids are 8 hex digits, the same each time', () => {
  assert.match(first.id, /^[0-9a-f]{8}$/)
  assert.equal(keyId(Buffer.alloc(32, 1)), first.id)
  assert.notEqual(first.id, second.id)
})
