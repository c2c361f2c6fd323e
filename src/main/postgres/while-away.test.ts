import assert from 'node:assert/strict'
import { test } from 'node:test'
import { whileAway, type WhileAwayOptions } from './while-away.ts'

const away = new Error('the layer above', { cause: new Error('connection refused') })
function rig(signal?: AbortSignal): { options: WhileAwayOptions; said: object[] } {
  const said: object[] = []
  const nothing = (): void => {}
  const logger = { debug: nothing, info: nothing, error: nothing, warn: (fields: object) => void said.push(fields) }
  return { said, options: { what: 'host/database', isAway: (error) => error === away, logger, signal, retryMs: 1 } }
}

test('what is away is waited for and said once, with its cause', async () => {
  const { options, said } = rig()
  let tries = 0
  assert.equal(await whileAway(options, async () => {
    if (++tries < 5) throw away
    return 'there'
  }), 'there')
  assert.deepEqual([tries, said], [5, [{ reason: 'connection refused' }]])
})

test('any other error ends the waiting at once', async () => {
  const { options } = rig()
  let tries = 0
  await assert.rejects(whileAway(options, async () => {
    if (++tries < 2) throw away
    throw new Error('wrong password')
  }), /wrong password/)
  assert.equal(tries, 2)
})

test('a stop ends the waiting', async () => {
  const stop = new AbortController()
  const { options } = rig(stop.signal)
  const waiting = whileAway({ ...options, retryMs: 60_000 }, async () => {
    setImmediate(() => stop.abort())
    throw away
  })
  await assert.rejects(waiting, { name: 'AbortError' })
  await assert.rejects(whileAway(options, async () => 'never asked'), { name: 'AbortError' })
})
