/** A node of this checkout on the embedded default, in a folder of its own. */
import { NodeProcess } from '../test/support/node-process.ts'
import { cpuSeconds, cpuSecondsOfTree } from './processes.ts'
import type { Target } from './target.ts'

export interface AnvilSettings {
  /** null: what the node chooses by itself. */
  workers: number | null
  gatewayThreads: number | null
  drives: number
}

export const settingsName = ({ workers, gatewayThreads, drives }: AnvilSettings): string =>
  `anvil, workers ${workers ?? 'default'}, gateways ${gatewayThreads ?? 'default'}, ${drives} ${drives === 1 ? 'drive' : 'drives'}`

export async function startAnvil(settings: AnvilSettings): Promise<Target> {
  const { workers, gatewayThreads, drives } = settings
  const node = await NodeProcess.started({
    drives,
    env: {
      RUST_LOG: 'warn',
      ...(workers === null ? {} : { ANVIL_WORKERS: String(workers) }),
      ...(gatewayThreads === null ? {} : { ANVIL_GATEWAY_THREADS: String(gatewayThreads) }),
    },
  })
  return {
    name: settingsName(settings),
    port: node.port,
    credentials: node.credentials,
    pid: () => node.pid,
    cpu() {
      const postmaster = node.postmasterPid()
      return { server: cpuSeconds(node.pid), database: postmaster === null ? 0 : cpuSecondsOfTree(postmaster) }
    },
    async stop() {
      const exit = await node.stop()
      const tail = node.logTail()
      await node.dispose()
      if (exit.code !== 0) throw new Error(`the node ended with ${exit.code ?? exit.signal}\n${tail}`)
    },
  }
}
