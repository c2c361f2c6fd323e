/** Which node of those that answer does a piece of work that any of them could do: each piece one, all of them some. */
import { createHash } from 'node:crypto'
import type { ClusterView } from './cluster-view.ts'

/**
 * Rendezvous hashing over the nodes. Two nodes with different views may both take a piece, or none for a moment: what they
 * do is safe twice.
 */
export function isMine({ self, nodes }: Pick<ClusterView, 'self' | 'nodes'>, piece: string | number): boolean {
  let winner = ''
  let highest = ''
  for (const node of nodes()) {
    const score = createHash('sha256').update(`${node}/${piece}`).digest('hex')
    if (score > highest) {
      highest = score
      winner = node
    }
  }
  return winner === self
}
