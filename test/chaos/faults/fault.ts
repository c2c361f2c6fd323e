/** One thing that goes wrong for a while, drawn from the seed. */
import type { Random } from '../random.ts'
import type { Stage } from '../stage.ts'

export interface Fault {
  name: string
  weight: number
  /** Alone, and only when everything is at full redundancy: it destroys what the code must make good. @default false */
  alone?: boolean
  /** No campaign goes without it. @default false */
  always?: boolean
  /** @default always */
  possible?(stage: Stage): boolean
  /** Draws all that it needs before its first wait. */
  draw(stage: Stage, random: Random): Planned | null
}

export interface Planned {
  /** What happens, for people. */
  text: string
  /** Nodes that no other fault may have meanwhile. */
  nodes: readonly number[]
  /** So many are away at once that requests through the others must go on: they are measured. */
  survivable: boolean
  /** Resolves when it is over, with what is to be told of it. */
  play(): Promise<string | void>
}

/** As many free nodes as asked for, or null. */
export function freeNodes(stage: Stage, random: Random, count: number): number[] | null {
  const nodes = random.some(stage.free, count).toSorted((a, b) => a - b)
  return nodes.length < count ? null : nodes
}

export const named = (nodes: readonly number[]): string => `${nodes.length === 1 ? 'node' : 'nodes'} ${nodes.join(', ')}`
