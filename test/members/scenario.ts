/**
 * What members of a cluster go through, with real processes over real sockets: all find each other along a chain, some behind
 * a relay that loses datagrams, half of them behind the addon's relay as nodes are. One is paused, one is killed and comes
 * back under another address, one leaves, and strangers are refused. `npm run test:members` plays it with twenty, the
 * end-to-end tests with five.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatAddress } from '../../src/main/transport/addresses.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'
import { openLossyRelay, type LossyRelay } from './lossy-relay.ts'
import { MemberProcess } from './member-process.ts'

const PATIENCE_MS = 120_000
/** Of the datagrams to and from a member behind a relay. */
const LOSS = 0.2
const PAUSE_MS = 3_000

export interface ScenarioOptions {
  members: number
  /** Of them, so many are behind lossy relays. */
  lossy: number
  /** For logs. */
  dir: string
  /** Tells figures as they come. */
  say: (line: string) => void
}

export async function playMembers(options: ScenarioOptions): Promise<void> {
  const scenario = new Scenario(options)
  try {
    await scenario.play()
  } finally {
    await scenario.end()
  }
}

class Scenario {
  readonly #options: ScenarioOptions
  readonly #members: MemberProcess[] = []
  readonly #strangers: MemberProcess[] = []
  readonly #relays: LossyRelay[] = []

  constructor(options: ScenarioOptions) {
    this.#options = options
  }

  async play(): Promise<void> {
    await this.#find()
    await this.#tell()
    await this.#pauseOne()
    await this.#refuseStrangers()
    await this.#killOne()
    await this.#leaveOne()
    this.#nobodyElseDied()
  }

  async end(): Promise<void> {
    await Promise.all([...this.#members, ...this.#strangers].map((member) => member.killed()))
    for (const relay of this.#relays) relay.close()
  }

  /** Each knows only the one before it. The second also has its own and a dead address to try. */
  async #find(): Promise<void> {
    const { members, lossy, dir, say } = this.#options
    const startedMs = performance.now()
    const dead = formatAddress('127.0.0.1', await freePort())
    for (let i = 0; i < members; i++) {
      const host = `127.0.0.${i + 2}`
      const port = await freePort()
      const publicAddrs: string[] = []
      if (i > 0 && i <= lossy) {
        const relay = await openLossyRelay(host, { host, port }, LOSS)
        this.#relays.push(relay)
        publicAddrs.push(formatAddress(host, relay.port))
      }
      const before = this.#members.at(-1)
      const bootstrapAddrs = before === undefined ? [] : [before.addr]
      if (i === 1) bootstrapAddrs.push(publicAddrs[0] ?? formatAddress(host, port), dead)
      this.#members.push(new MemberProcess(`member ${i + 1}`, { host, port, publicAddrs, bootstrapAddrs, behindPlane: i === 0 || i > members / 2, logFile: join(dir, `member-${i + 1}.log`) }))
      await this.#members.at(-1)!.start()
    }
    const upMs = performance.now()
    await this.#all('all know all', (one) => this.#members.every((other) => one.sees(other)?.state === 'alive'))
    say(`${members} members, ${lossy} of them behind ${LOSS * 100} % loss: started in ${seconds(startedMs, upMs)}, all knew all ${seconds(upMs)} after the last start`)
    const second = this.#members[1]!
    await until('its own address and the dead one are told', () => ['own-address', 'unreachable'].every((kind) => second.view.problems.some((problem) => problem.kind === kind)), {
      timeoutMs: PATIENCE_MS, detail: () => JSON.stringify(second.view.problems),
    })
    assert.equal(linesWith(second.log, 'is the address of this node itself'), 1)
    assert.equal(linesWith(second.log, `peer ${dead}: no answer`), 1)
  }

  async #tell(): Promise<void> {
    const atMs = performance.now()
    const event = { kind: 'bucket', key: 'photos' } as const
    this.#members[0]!.broadcast({ kind: 'broadcast', event })
    await this.#all('all have heard', (one) => one === this.#members[0] || one.view.events.length > 0)
    this.#options.say(`an event reached all in ${seconds(atMs)}`)
    for (const one of this.#members.slice(1)) assert.deepEqual(one.view.events, [event])
  }

  /** Suspected, never held for dead, and alive to all afterwards. */
  async #pauseOne(): Promise<void> {
    const paused = this.#members.at(-1)!
    const others = this.#members.slice(0, -1)
    const atMs = performance.now()
    paused.pause()
    try {
      await Promise.all([
        sleep(PAUSE_MS),
        until('somebody suspects it', () => others.some((one) => one.sees(paused)?.state === 'suspect'), { timeoutMs: PATIENCE_MS }),
      ])
    } finally {
      paused.resume()
    }
    const pausedMs = performance.now() - atMs
    await this.#all('it is alive to all again', (one) => one.sees(paused)?.state === 'alive')
    const suspecting = others.filter((one) => one.sees(paused)!.seen.includes('suspect')).length
    this.#options.say(`paused for ${(pausedMs / 1000).toFixed(1)} s: suspected by ${suspecting} of ${others.length}, dead to none, alive to all ${seconds(atMs + pausedMs)} later`)
    for (const one of others) assert.ok(!one.sees(paused)!.seen.includes('dead'), `${one.name} held the paused one for dead`)
  }

  async #refuseStrangers(): Promise<void> {
    const first = this.#members[0]!
    for (const [kind, other] of [['wrong-secret', { clusterSecret: 'the secret of another cluster' }], ['wrong-region', { region: 'elsewhere' }]] as const) {
      const stranger = new MemberProcess(`stranger with the ${kind}`, {
        host: `127.0.1.${this.#strangers.length + 2}`, port: await freePort(), bootstrapAddrs: [first.addr], logFile: join(this.#options.dir, `stranger-${kind}.log`), ...other,
      })
      this.#strangers.push(stranger)
      await stranger.start()
      await until(`${kind} is told on both sides`, () => (
        stranger.view.problems.some((problem) => problem.kind === kind && problem.peer === first.addr)
        && first.view.problems.some((problem) => problem.kind === kind && problem.peer === stranger.nodeId)
      ), { timeoutMs: PATIENCE_MS, detail: () => JSON.stringify([stranger.view.problems, first.view.problems]) })
      await stranger.killed()
      assert.equal(stranger.view.members.length, 1)
      assert.equal(first.sees(stranger), null)
    }
  }

  /** Dead to all; back under another address it is the same member. */
  async #killOne(): Promise<void> {
    const victim = this.#members.at(-2)!
    const others = this.#members.filter((one) => one !== victim)
    const before = others[0]!.sees(victim)!
    const atMs = performance.now()
    await victim.killed()
    await this.#all('it is dead to all', (one) => one === victim || one.sees(victim)?.state === 'dead')
    this.#options.say(`kill -9: dead to all ${seconds(atMs)} later`)

    victim.settings.host = '127.0.2.2'
    victim.settings.port = await freePort()
    victim.settings.publicAddrs = []
    victim.settings.bootstrapAddrs = [others[0]!.addr]
    const backMs = performance.now()
    await victim.start()
    await this.#all('it is back', (one) => this.#members.every((other) => one.sees(other)?.state === 'alive'))
    this.#options.say(`back under another address: alive to all ${seconds(backMs)} after its start`)
    for (const one of others) {
      const now = one.sees(victim)!
      assert.ok(now.incarnation > before.incarnation)
      assert.notEqual(now.processId, before.processId)
      assert.deepEqual(now.addrs, [victim.addr])
    }
  }

  async #leaveOne(): Promise<void> {
    const leaver = this.#members.at(-1)!
    const others = this.#members.slice(0, -1)
    const atMs = performance.now()
    const exit = leaver.stop()
    await until('all know that it has left', () => others.every((one) => one.sees(leaver)?.state === 'left'), { timeoutMs: PATIENCE_MS })
    this.#options.say(`SIGTERM: left to all ${seconds(atMs)} later`)
    assert.equal(await exit, 0)
  }

  #nobodyElseDied(): void {
    const mortal = new Set([this.#members.at(-2)!.nodeId])
    for (const one of this.#members) {
      const wrong = one.view.members.filter(({ nodeId, seen }) => !mortal.has(nodeId) && seen.includes('dead'))
      assert.deepEqual(wrong, [], `${one.name} held a living one for dead`)
    }
    const lost = this.#relays.reduce((sum, relay) => sum + relay.lost(), 0)
    this.#options.say(`no living member was held for dead; ${lost} datagrams were lost on the way`)
  }

  async #all(what: string, holds: (one: MemberProcess) => boolean): Promise<void> {
    const detail = (): string => this.#members.filter((one) => !holds(one)).map((one) => `${one.name}: ${JSON.stringify(one.view.members.map(({ nodeId, state }) => [nodeId.slice(-6), state]))} ${JSON.stringify(one.view.problems)}`).join('\n')
    await until(what, () => this.#members.every(holds), { timeoutMs: PATIENCE_MS, everyMs: 20, detail })
  }
}

const seconds = (fromMs: number, toMs = performance.now()): string => `${((toMs - fromMs) / 1000).toFixed(1)} s`

const linesWith = (log: string, text: string): number => log.split('\n').filter((line) => line.includes(text) && line.includes('"level":40')).length
