import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeploymentId, NodeId } from '../../shared/ids.ts'
import { PeerRefusal } from './contract.ts'
import { FrameDecoder, frame, type FrameChannel } from './frames.ts'
import { handshake, type Credentials, type HandshakeOptions } from './handshake.ts'
import { MAX_HANDSHAKE_BYTES } from './limits.ts'

const A = 'node-a' as NodeId
const B = 'node-b' as NodeId
const SECRET = 'the secret of the cluster'

const credentials = (nodeId: NodeId, other: Partial<Credentials> = {}): Credentials =>
  ({ nodeId, processId: `process-${nodeId}`, deploymentId: 'd'.repeat(32) as DeploymentId, region: 'eu', clusterSecrets: [SECRET], ...other })

test('two who know the secret become peers', async () => {
  const [dialler, listener] = await meet({}, {})
  assert.ok(!(dialler instanceof PeerRefusal) && !(listener instanceof PeerRefusal))
  assert.equal(dialler.nodeId, B)
  assert.equal(dialler.processId, 'process-node-b')
  assert.equal(listener.nodeId, A)
  assert.equal(listener.processId, 'process-node-a')
  assert.equal(dialler.protocolVersion, 1)
})

test('either side without the secret is refused, and both know why', async () => {
  for (const [dialler, listener] of [[['another secret 1'], [SECRET]], [[SECRET], ['another secret 2']]]) {
    assert.deepEqual(await kinds({ clusterSecrets: dialler! }, { clusterSecrets: listener! }), ['wrong-secret', 'wrong-secret'])
  }
})

test('secrets change node by node', async () => {
  const steps = [['old secret'], ['old secret', 'new secret'], ['new secret', 'old secret'], ['new secret']]
  for (let i = 0; i < steps.length - 1; i++) {
    for (const [dialler, listener] of [[i, i + 1], [i + 1, i], [i, i]] as const) {
      assert.deepEqual(await kinds({ clusterSecrets: steps[dialler]! }, { clusterSecrets: steps[listener]! }), [null, null], `${dialler} dials ${listener}`)
    }
  }
  assert.deepEqual(await kinds({ clusterSecrets: steps[0]! }, { clusterSecrets: steps[3]! }), ['wrong-secret', 'wrong-secret'])
  // the dialler was accepted, and does not accept: the listener hears it
  assert.deepEqual(await kinds({ clusterSecrets: steps[3]! }, { clusterSecrets: steps[1]! }), ['wrong-secret', 'wrong-secret'])
})

test('another deployment, another region', async () => {
  assert.deepEqual(await kinds({ deploymentId: 'e'.repeat(32) as DeploymentId }, {}), ['wrong-deployment', 'wrong-deployment'])
  assert.deepEqual(await kinds({ region: 'us' }, {}), ['wrong-region', 'wrong-region'])
})

test('the clocks of both sides', async () => {
  const [dialler, listener] = await meet({}, {}, { nowMs: () => Date.now() - 60_000 })
  assert.ok(!(dialler instanceof PeerRefusal) && !(listener instanceof PeerRefusal))
  assert.ok(Math.abs(dialler.clockAheadMs - 60_000) <= dialler.uncertaintyMs + 50)
  assert.ok(Math.abs(listener.clockAheadMs + 60_000) <= listener.uncertaintyMs + 50)
})

test('what only a proven peer is told', async () => {
  const refuse = (): PeerRefusal => new PeerRefusal('duplicate-node', 'lives twice')
  assert.deepEqual(await kinds({}, {}, { refuse }, {}), ['duplicate-node', 'duplicate-node'])
  assert.deepEqual(await kinds({}, {}, {}, { refuse }), ['duplicate-node', 'duplicate-node'])
  // who does not know the secret is not told of doubles
  assert.deepEqual(await kinds({ clusterSecrets: ['another secret'] }, {}, {}, { refuse }), ['wrong-secret', 'wrong-secret'])
})

test('a proof for one node, role or connection is none for another', async () => {
  // somebody in the middle passes on what two good nodes say, but TLS shows each of them another peer id
  const [a, toA] = channels()
  const [b, toB] = channels()
  void relay(toA, toB)
  void relay(toB, toA)
  const outcomes = await Promise.all([
    outcome(handshake(a, 'dialler', credentials(A), 'node-m' as NodeId)),
    outcome(handshake(b, 'listener', credentials(B), 'node-m' as NodeId)),
  ])
  assert.deepEqual(outcomes.map(kindOf), ['wrong-secret', 'wrong-secret'])

  // an echo of the dialler's own words
  const [c, echo] = channels()
  void relay(echo, echo)
  assert.equal(kindOf(await outcome(handshake(c, 'dialler', credentials(A), A))), 'wrong-secret')
})

test('a version that is too old or too new', async () => {
  for (const [oldest, newest] of [[2, 3], [-1, 0]]) {
    const result = await listenTo(hello({ oldest, newest }))
    assert.equal(kindOf(result), 'protocol')
    assert.match((result as PeerRefusal).message, /upgrade one version at a time/)
  }
})

test('what is no handshake', async () => {
  for (const words of [
    Buffer.from('not JSON'), Buffer.from('null'), Buffer.from('[]'), Buffer.from('{}'), hello({ nonce: 'c2hvcnQ=' }), hello({ nonce: 5 }),
    hello({ region: 'a\nb' }), hello({ region: '' }), hello({ clockMs: 'x' }), hello({ deploymentId: 'x'.repeat(500) }), Buffer.alloc(MAX_HANDSHAKE_BYTES + 1),
  ]) assert.equal(kindOf(await listenTo(words)), 'protocol', words.toString().slice(0, 80))
  assert.equal(kindOf(await listenTo()), 'unreachable')
})

test('a peer that answers too late', async () => {
  const [mine] = channels()
  const result = await outcome(handshake(mine, 'dialler', credentials(A), B, { stepMs: 20 }))
  assert.equal(kindOf(result), 'unreachable')
  assert.match((result as PeerRefusal).message, /too late/)
})

// ------------------------------------------------------------------------------------------------------------ support

type Outcome = Awaited<ReturnType<typeof handshake>> | PeerRefusal

async function meet(dialler: Partial<Credentials>, listener: Partial<Credentials>, diallerOptions: HandshakeOptions = {}, listenerOptions: HandshakeOptions = {}): Promise<[Outcome, Outcome]> {
  const [a, b] = channels()
  return Promise.all([
    outcome(handshake(a, 'dialler', credentials(A, dialler), B, diallerOptions)),
    outcome(handshake(b, 'listener', credentials(B, listener), A, listenerOptions)),
  ])
}

const kinds = async (...args: Parameters<typeof meet>): Promise<(string | null)[]> => (await meet(...args)).map(kindOf)

const kindOf = (result: Outcome): string | null => (result instanceof PeerRefusal ? result.kind : null)

const outcome = async (running: Promise<Outcome>): Promise<Outcome> => running.catch((error: unknown) => {
  assert.ok(error instanceof PeerRefusal, String(error))
  return error
})

function hello(other: object): Buffer {
  return Buffer.from(JSON.stringify({
    oldest: 1, newest: 1, nonce: Buffer.alloc(32).toString('base64'), processId: 'p', deploymentId: 'd'.repeat(32), region: 'eu', clockMs: Date.now(), ...other,
  }))
}

async function listenTo(...words: Uint8Array[]): Promise<Outcome> {
  const [mine, theirs] = channels()
  for (const word of words) theirs.send(word)
  await theirs.end()
  return outcome(handshake(mine, 'listener', credentials(A), B))
}

async function relay(from: FrameChannel, to: FrameChannel): Promise<void> {
  for (;;) {
    const words = await from.receive(new AbortController().signal)
    if (words === null) return to.end()
    to.send(words)
  }
}

/** Two ends of a stream, framed as on the wire. */
function channels(): [FrameChannel, FrameChannel] {
  const ends = [0, 1].map(() => ({ decoder: new FrameDecoder(MAX_HANDSHAKE_BYTES), waiting: [] as Uint8Array[], failure: null as Error | null, ended: false, wake: () => {} }))
  return [0, 1].map((i): FrameChannel => {
    const mine = ends[i]!
    const theirs = ends[1 - i]!
    return {
      send: (bytes) => {
        try {
          theirs.waiting.push(...theirs.decoder.push(frame(bytes)))
        } catch (error) {
          theirs.failure = error as Error
        }
        theirs.wake()
      },
      receive: async (signal) => {
        for (;;) {
          const next = mine.waiting.shift()
          if (next !== undefined) return next
          if (mine.failure !== null) throw mine.failure
          if (mine.ended) return null
          await new Promise<void>((resolve, reject) => {
            mine.wake = resolve
            signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
          })
        }
      },
      end: async () => {
        theirs.ended = true
        theirs.wake()
      },
      abort: (error) => {
        theirs.failure = error
        theirs.wake()
      },
    }
  }) as [FrameChannel, FrameChannel]
}
