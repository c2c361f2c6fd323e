/** Ports of a container network, published on its host by the user-space forwarder. */
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { ContainerNetwork, Host } from './network.ts'

/** As the compose files publish them. */
const PORTS = ['tcp:9000', 'tcp:50051', 'udp:7443']

/** Resolves when all of them listen, with the way to end it. */
export async function publishPorts(host: Host, inside: ContainerNetwork): Promise<() => void> {
  const program = path.join(import.meta.dirname, 'forwarder.ts')
  const child = host.namespace.spawn(process.execPath, [program, host.address, inside.address, ...PORTS], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the forwarder ended')))
  await Promise.race([once(createInterface({ input: child.stdout! }), 'line'), ended])
  ended.catch(() => undefined) // when it is told to, in the end
  return () => child.kill('SIGTERM')
}
