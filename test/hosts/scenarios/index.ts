import type { Scenario } from '../steps.ts'
import { containerAlone } from './container-alone.ts'
import { oneHost } from './one-host.ts'
import { publishedAlone } from './published.ts'
import { inContainers, asProcesses } from './runtime.ts'

export type Kind = 'hosts' | 'container'

export const scenarios: Record<Kind, Scenario[]> = {
  hosts: [oneHost(asProcesses), publishedAlone(asProcesses)],
  container: [containerAlone, oneHost(inContainers), publishedAlone(inContainers)],
}
