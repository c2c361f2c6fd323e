import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fakeKeys, nodeName, recordOf } from '../../../test/support/gossip-net.ts'
import { mulberry32 } from '../../../test/support/random.ts'
import { MAX_GOSSIP_MESSAGE_BYTES } from '../../shared/limits.ts'
import type { MemberState } from '../membership/contract.ts'
import type { Message, SignedRecord, TableEntry } from './contract.ts'
import { encodeMessage } from './message-codec.ts'
import { signRecord } from './record-codec.ts'
import { Swim } from './swim.ts'

const NOW_MS = 1_700_000_000_000
const FORGET_MS = 24 * 3600_000
const STILL = { probeIntervalMs: 1e9, exchangeIntervalMs: 1e9, reconnectIntervalMs: 1e9 }

interface Side {
  swim: Swim
  name: ReturnType<typeof nodeName>
}

function side(index: number, entries: readonly TableEntry[]): Side {
  const swim = new Swim({ self: recordOf(index, { incarnation: 100 }), config: STILL, random: mulberry32(index), nowMs: NOW_MS, ...fakeKeys(index) })
  swim.receive({ kind: 'entries', entries, wanted: [] }, nodeName(999), NOW_MS)
  swim.drain()
  return { swim, name: nodeName(index) }
}

/** Hands what each says to the other, until they have nothing to say. @returns all messages */
function talk(a: Side, b: Side): Message[] {
  a.swim.contact('addr', NOW_MS)
  const all: Message[] = []
  for (let rounds = 0, spoke = true; spoke; rounds++) {
    assert.ok(rounds < 20, 'they go on for ever')
    spoke = false
    for (const [from, to] of [[a, b], [b, a]] as const) {
      for (const output of from.swim.drain()) {
        if (output.kind !== 'contact' && (output.kind !== 'send' || output.to !== to.name)) continue
        const bytes = encodeMessage(output.message)
        assert.ok(bytes.length <= MAX_GOSSIP_MESSAGE_BYTES, `${output.message.kind} of ${bytes.length} bytes`)
        to.swim.receive(bytes, from.name, NOW_MS)
        all.push(output.message)
        spoke = true
      }
    }
  }
  return all
}

const signed = (index: number, incarnation: number, leaving: boolean, addrs = [`addr-${index}`]): SignedRecord => signRecord(recordOf(index, { incarnation, addrs }), leaving, fakeKeys(index).sign)

const FIRST = 10
const known = fc.option(fc.record({ incarnation: fc.nat({ max: 3 }), state: fc.constantFrom<MemberState>('alive', 'suspect', 'dead', 'left'), goneMs: fc.nat({ max: FORGET_MS }) }))
const table = fc.array(known, { maxLength: 40 })
const entriesOf = (views: readonly ({ incarnation: number; state: MemberState; goneMs: number } | null)[]): TableEntry[] =>
  views.flatMap((view, i) => (view === null ? [] : [{ signed: signed(FIRST + i, view.incarnation, view.state === 'left'), state: view.state, goneMs: view.state === 'dead' || view.state === 'left' ? view.goneMs : 0 }]))

test('after two exchanges both sides have the newest record that either had of each member, and none is resurrected or killed by it', () => {
  fc.assert(
    fc.property(table, table, (ofA, ofB) => {
      const [a, b] = [side(1, entriesOf(ofA)), side(2, entriesOf(ofB))]
      const before = [a, b].map(({ swim }) => new Map([...swim.members()].map((member) => [member.nodeId, member])))
      // Whoever knows less than half only listens the first time.
      for (let times = 0; times < 2; times++) talk(a, b)
      for (const id of new Set(before.flatMap((members) => [...members.keys()]))) {
        const [inA, inB] = [a.swim.member(id), b.swim.member(id)]
        const had = before.map((members) => members.get(id)).filter((member) => member !== undefined)
        const newest = Math.max(...had.map(({ incarnation }) => incarnation))
        const ofNewest = had.filter(({ incarnation }) => incarnation === newest)
        for (const member of [inA, inB]) {
          // What only one knew, and has known to be gone for almost as long as anybody remembers, stays with it.
          if (member === undefined) {
            assert.ok(had.every(({ state }) => state === 'dead' || state === 'left'))
            continue
          }
          if (had.every(({ state }) => state === 'dead' || state === 'left') && member.incarnation < newest) continue
          assert.equal(member.incarnation, newest)
          if (member.state === 'alive') assert.ok(ofNewest.every(({ state }) => state === 'alive'))
          if (member.state === 'dead') assert.ok(had.some(({ state }) => state === 'dead'))
          assert.equal(member.state === 'left', ofNewest.some(({ state }) => state === 'left'))
        }
      }
      // A dead member stays suspected for a while by whoever had it for alive. But for that, and for the long gone, they are equal now.
      if (ofA.concat(ofB).every((view) => view === null || (view.state !== 'dead' && view.goneMs < FORGET_MS / 2))) {
        assert.deepEqual(talk(a, b).map(({ kind }) => kind), ['digest'])
      }
    }),
  )
})

test('tables of the longest records, and questions for all of them, go in messages that fit', () => {
  const addrs = Array.from({ length: 7 }, (_, i) => `${i}`.repeat(500))
  const entries = Array.from({ length: 300 }, (_, i): TableEntry => ({ signed: signed(FIRST + i, 1, false, addrs), state: 'alive', goneMs: 0 }))
  const [full, empty] = [side(1, entries), side(2, [])]
  const messages = talk(empty, full)
  assert.ok(messages.filter(({ kind }) => kind === 'entries').length > 10)
  assert.equal([...empty.swim.members()].length, 302)
  full.swim.receive({ kind: 'entries', entries: [], wanted: entries.flatMap(({ signed: { key } }) => [key, key]) }, empty.name, NOW_MS)
  const answers = full.swim.drain().flatMap((output) => (output.kind === 'send' && output.message.kind === 'entries' ? [output.message] : []))
  assert.equal(answers.reduce((sum, answer) => sum + answer.entries.length, 0), 300)
  for (const answer of answers) assert.ok(encodeMessage(answer).length <= MAX_GOSSIP_MESSAGE_BYTES)
})

test('who died almost as long ago as anybody remembers is told to nobody, and by nobody taken', () => {
  const old = { signed: signed(FIRST, 1, false), state: 'dead' as const, goneMs: FORGET_MS - 1000 }
  const [a, b] = [side(1, []), side(2, [{ ...old, goneMs: FORGET_MS / 2 }, { signed: signed(FIRST + 1, 1, false), state: 'alive', goneMs: 0 }])]
  a.swim.receive({ kind: 'entries', entries: [old], wanted: [] }, b.name, NOW_MS)
  assert.equal(a.swim.member(nodeName(FIRST)), undefined)
  talk(a, b)
  assert.equal(a.swim.member(nodeName(FIRST))?.state, 'dead')
})
