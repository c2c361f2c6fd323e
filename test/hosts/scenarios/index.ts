import type { Scenario } from '../steps.ts'
import { containerAlone } from './container-alone.ts'
import { ipv6 } from './ipv6.ts'
import { oneHost } from './one-host.ts'
import { publishedAlone, publishedPorts } from './published.ts'
import { partition } from './partition.ts'
import { inContainers, asProcesses } from './runtime.ts'
import { tutorial } from './tutorial.ts'

export type Kind = 'hosts' | 'container'

export const scenarios: Record<Kind, Scenario[]> = {
  hosts: [oneHost(asProcesses), publishedAlone(asProcesses), tutorial(asProcesses), publishedPorts(asProcesses), ipv6(asProcesses), partition(asProcesses)],
  container: [containerAlone, oneHost(inContainers), publishedAlone(inContainers), tutorial(inContainers), publishedPorts(inContainers)],
}
