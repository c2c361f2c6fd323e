import type { Scenario } from '../steps.ts'
import { containerAlone } from './container-alone.ts'
import { oneHost } from './one-host.ts'
import { inContainers, asProcesses } from './runtime.ts'

export type Kind = 'hosts' | 'container'

export const scenarios: Record<Kind, Scenario[]> = {
  hosts: [oneHost(asProcesses)],
  container: [containerAlone, oneHost(inContainers)],
}
