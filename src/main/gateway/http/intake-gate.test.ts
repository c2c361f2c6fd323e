import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { IntakeGate, type Holdable } from './intake-gate.ts'

class Request implements Holdable {
  held = false
  hold(): void {
    this.held = true
  }
  release(): void {
    this.held = false
  }
}

test('all bodies rest while memory is short, and go on when it is there again', async () => {
  let pressure = 0.8
  const requests = [new Request(), new Request()]
  const gate = new IntakeGate(() => pressure, requests)
  for (let i = 0; i < 100; i++) gate.chunk()
  assert.equal(gate.closed, false)

  pressure = 0.9
  gate.chunk()
  assert.equal(gate.closed, true)
  assert.deepEqual(requests.map(({ held }) => held), [true, true])
  pressure = 0.82
  await sleep(30)
  assert.equal(gate.closed, true, 'as long as memory is short')

  pressure = 0.79
  for (const deadline = Date.now() + 2000; gate.closed && Date.now() < deadline;) await sleep(5)
  assert.equal(gate.closed, false)
  assert.deepEqual(requests.map(({ held }) => held), [false, false])
})
