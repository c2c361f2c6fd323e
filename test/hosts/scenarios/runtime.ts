/** How the nodes of a scenario run. */
import { AnvilContainer } from '../anvil-container.ts'
import type { AnvilNode, NodeSettings } from '../anvil-node.ts'
import { AnvilProcess } from '../anvil-process.ts'
import type { Stage } from '../steps.ts'

export interface Runtime {
  /** For titles. */
  name: string
  /** Nothing runs yet; it is ended after the scenario. */
  node(stage: Stage, settings: NodeSettings): AnvilNode
}

export const asProcesses: Runtime = { name: 'processes', node: (stage, settings) => ended(stage, new AnvilProcess(settings, stage.folder)) }

export const inContainers: Runtime = { name: 'containers', node: (stage, settings) => ended(stage, new AnvilContainer(settings, stage.owner)) }

function ended(stage: Stage, node: AnvilNode): AnvilNode {
  stage.after(() => node.dispose())
  return node
}
