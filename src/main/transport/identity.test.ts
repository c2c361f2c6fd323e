import assert from 'node:assert/strict'
import { test } from 'node:test'
import { privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { identityFromProtobuf, identityFromSeed, isNodeId, signedBy } from './identity.ts'

const bytes = Buffer.from('what a node says of itself')

test('what a node signs is verified by its id alone', async () => {
  const one = await identityFromSeed(Buffer.alloc(32, 1))
  const other = await identityFromSeed(Buffer.alloc(32, 2))
  const signature = one.sign(bytes)
  assert.equal(signature.length, 64)
  assert.equal(signedBy(one.nodeId, bytes, signature), true)
  assert.equal(signedBy(other.nodeId, bytes, signature), false)
  assert.equal(signedBy(one.nodeId, Buffer.from('something else'), signature), false)
  assert.equal(signedBy(one.nodeId, bytes, signature.subarray(1)), false)
})

test('libp2p makes and accepts the same signatures', async () => {
  const { privateKey, nodeId, sign } = await identityFromSeed(Buffer.alloc(32, 3))
  assert.equal(signedBy(nodeId, bytes, await privateKey.sign(bytes)), true)
  assert.equal(await privateKey.publicKey.verify(bytes, sign(bytes)), true)
})

test('a key read from its file is the same node', async () => {
  const made = await identityFromSeed(Buffer.alloc(32, 4))
  const read = identityFromProtobuf(privateKeyToProtobuf(made.privateKey))
  assert.equal(read.nodeId, made.nodeId)
  assert.deepEqual(Buffer.from(read.seed), Buffer.alloc(32, 4))
})

test('what is no node id verifies nothing', async () => {
  const { nodeId, sign } = await identityFromSeed(Buffer.alloc(32, 5))
  assert.equal(isNodeId(nodeId), true)
  for (const text of ['', 'x', `${nodeId}x`, `z${nodeId}`, 'QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC']) {
    assert.equal(isNodeId(text), false, text)
    assert.equal(signedBy(text, bytes, sign(bytes)), false, text)
  }
})
