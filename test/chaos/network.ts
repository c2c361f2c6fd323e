/** The network of the test's own hosts, which it may cut, and make lossy and slow. Everything is undone by `heal`. */
import { outcomeOf } from '../hosts/commands.ts'
import { type Host, joinHost } from '../hosts/network.ts'
import type { NodeHost } from '../support/node-process.ts'

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
    const network = new ChaosNetwork(code === 0)
    network.hosts.push(probe)
    for (let i = 1; i < hosts; i++) network.hosts.push(await joinHost(owner, i + 2))
    await network.heal()
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

  /** What `to` sends does not reach `at` any more. */
  async deafen(at: number, to: readonly number[]): Promise<void> {
    for (const other of to) await this.#run(at, 'iptables', '-w', '-A', 'INPUT', '-s', this.hosts[other]!.address, '-j', 'DROP')
  }

  async cut(here: readonly number[], there: readonly number[]): Promise<void> {
    for (const at of here) await this.deafen(at, there)
    for (const at of there) await this.deafen(at, here)
  }

  /** A part of all UDP packets from other nodes is lost on the way in: TCP of clients would wait for seconds. */
  async lose(at: number, percent: number): Promise<void> {
    await this.#run(at, 'iptables', '-w', '-A', 'INPUT', '-p', 'udp', '-m', 'statistic', '--mode', 'random', '--probability', String(percent / 100), '-j', 'DROP')
  }

  async delay(at: number, ms: number): Promise<void> {
    await this.#run(at, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'netem', 'delay', `${ms}ms`, `${Math.ceil(ms / 4)}ms`)
  }

  /** @param at of these hosts. @default all */
  async heal(at: readonly number[] = this.hosts.keys().toArray()): Promise<void> {
    for (const host of at) {
      await this.#run(host, 'iptables', '-w', '-F', 'INPUT')
      if (this.delays) await outcomeOf(...this.hosts[host]!.namespace.command('tc', ['qdisc', 'del', 'dev', 'eth0', 'root']))
    }
  }

  async #run(at: number, program: string, ...args: string[]): Promise<void> {
    await this.hosts[at]!.namespace.run(program, args)
  }
}
