import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { until } from '../../../test/support/until.ts'
import { BackgroundWork } from './background.ts'

test('what a round says right before it ends is there until the next one has ended', async () => {
  const work = new BackgroundWork(pino({ level: 'silent' }))
  const says = ['two groups have no room', '', new Error('away')]
  const seen: string[] = []
  work.start({
    name: 'task', idleMs: 3_600_000,
    round: async (progress) => {
      seen.push(progress.now)
      const next = says.shift()!
      if (next instanceof Error) {
        progress.now = 'asks'
        throw next
      }
      progress.now = next
      return false
    },
  })
  const status = () => work.status[0]!
  await until('its first round has ended', () => status().rounds === 1 && status().state === 'idle')
  assert.deepEqual([status().now, status().last], ['', 'two groups have no room'])
  work.wake('task')
  await until('its second round has ended', () => status().rounds === 2 && status().state === 'idle')
  assert.deepEqual([status().now, status().last], ['', ''])
  work.wake('task')
  await until('its third round has failed', () => status().failures === 1 && status().state === 'idle')
  assert.deepEqual([status().now, status().last], ['', 'asks'])
  await work.stop()
  assert.deepEqual(seen, ['', '', ''], 'a round begins with nothing said')
})
