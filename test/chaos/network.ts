/** The network of the test's own hosts, which it may cut, and make lossy and slow. */
import { outcomeOf } from '../hosts/commands.ts'
import { type Host, joinHost } from '../hosts/network.ts'
import type { NodeHost } from '../support/node-process.ts'

/** Takes back what one fault did, and no other. */
export type Undo = () => Promise<void>

export class ChaosNetwork {
  readonly hosts: Host[] = []
  /** Whether the kernel can delay packets. */
  readonly delays: boolean

  private constructor(delays: boolean) {
    this.delays = delays
  }

  /** @param owner pid of the process that removes the namespaces */
  static async made(owner: number, hosts: number): Promise<ChaosNetwork> {
    const probe = await joinHost(owner, 2)
    const { code } = await outcomeOf(...probe.namespace.command('tc', ['qdisc', 'add', 'dev', 'eth0', 'root', 'netem', 'delay', '1ms']))
    if (code === 0) await probe.namespace.run('tc', ['qdisc', 'del', 'dev', 'eth0', 'root'])
    const network = new ChaosNetwork(code === 0)
    network.hosts.push(probe)
    for (let i = 1; i < hosts; i++) network.hosts.push(await joinHost(owner, i + 2))
    return network
  }

  /** For the nodes, one after the other. */
  places(): () => Promise<NodeHost> {
    let next = 0
    return async () => {
      const { address, namespace } = this.hosts[next++]!
      return { address, command: (program, args) => namespace.command(program, args) }
    }
  }

  /** What `others` send does not reach `at` any more. */
  async deafen(at: number, others: readonly number[]): Promise<Undo> {
    return this.#all(others.map((other) => () => this.#rule(at, '-s', this.hosts[other]!.address, '-j', 'DROP')))
  }

  async cut(here: readonly number[], there: readonly number[]): Promise<Undo> {
    return this.#all([...here.map((at) => () => this.deafen(at, there)), ...there.map((at) => () => this.deafen(at, here))])
  }

  /** A part of all UDP packets is lost on the way in: those of other nodes, since TCP of clients would wait for seconds. */
  async lose(at: number, percent: number): Promise<Undo> {
    return this.#rule(at, '-p', 'udp', '-m', 'statistic', '--mode', 'random', '--probability', String(percent / 100), '-j', 'DROP')
  }

  async delay(at: number, ms: number): Promise<Undo> {
    await this.#run(at, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'netem', 'delay', `${ms}ms`, `${Math.ceil(ms / 4)}ms`)
    return () => this.#run(at, 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root')
  }

  /** One after the other: iptables locks its table. */
  async #all(work: readonly (() => Promise<Undo>)[]): Promise<Undo> {
    const undo: Undo[] = []
    for (const one of work) undo.push(await one())
    return async () => {
      for (const one of undo) await one()
    }
  }

  async #rule(at: number, ...rule: string[]): Promise<Undo> {
    await this.#run(at, 'iptables', '-w', '-A', 'INPUT', ...rule)
    return () => this.#run(at, 'iptables', '-w', '-D', 'INPUT', ...rule)
  }

  async #run(at: number, program: string, ...args: string[]): Promise<void> {
    await this.hosts[at]!.namespace.run(program, args)
  }
}
