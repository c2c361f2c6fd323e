/** What a node says of its cluster, as it changes: `anvil cluster status --watch --json` against its gRPC port. */
import { type ChildProcess } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { until } from '../support/until.ts'
import type { AnvilNode } from './anvil-node.ts'

export interface ClusterNode {
  id: string
  addrs: string[]
  state: 'alive' | 'suspect' | 'dead' | 'left'
  drives: { id: string; state: string }[]
}

export interface ClusterState {
  nodeId: string
  nodes: ClusterNode[]
  redundancy: { code: string }
  problems: { peer: string; kind: string; text: string }[]
}

const ANVIL = path.resolve(import.meta.dirname, '../../bin/anvil')
const SHOWN_CHARS = 3000

export class ClusterWatch {
  readonly #node: AnvilNode
  readonly #child: ChildProcess
  #last: ClusterState | null = null
  #stderr = ''

  /** From any host of the test: the gRPC port is asked at its public address. */
  constructor(node: AnvilNode) {
    this.#node = node
    const { PATH, HOME } = process.env
    const { host, env } = node.settings
    const child = host.namespace.spawn(ANVIL, ['cluster', 'status', '--watch', '--json'], { env: { PATH, HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.#last = JSON.parse(line) as ClusterState
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-SHOWN_CHARS)))
    this.#child = child
  }

  get last(): ClusterState | null {
    return this.#last
  }

  /** Resolves at the first state that `condition` holds of. */
  async until(what: string, condition: (state: ClusterState) => boolean, timeoutMs: number): Promise<ClusterState> {
    const holds = (): ClusterState | null => (this.#last !== null && condition(this.#last) ? this.#last : null)
    return until(`${this.#node.name} sees that ${what}`, holds, { timeoutMs, everyMs: 20, detail: () => this.#seen() })
  }

  stop(): void {
    this.#child.kill('SIGTERM')
  }

  #seen(): string {
    if (this.#last === null) return `no answer yet\n${this.#stderr}`
    const { nodes, problems } = this.#last
    return `it sees ${JSON.stringify({ nodes, problems }, null, 1)}\n${this.#stderr}`
  }
}

/** The node that listens on this host, as another one knows it. */
export function nodeOn(state: ClusterState, address: string): ClusterNode | undefined {
  return state.nodes.find(({ addrs }) => addrs.some((addr) => addr.startsWith(`/${address.includes(':') ? 'ip6' : 'ip4'}/${address}/`)))
}

export function isAlive(state: ClusterState, address: string): boolean {
  return nodeOn(state, address)?.state === 'alive'
}
