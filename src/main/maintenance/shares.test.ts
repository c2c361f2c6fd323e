import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId } from '../../shared/ids.ts'
import { isMine } from './shares.ts'

const nodes = ['a', 'b', 'c'] as NodeId[]
const owners = (piece: number, among: readonly NodeId[]) => among.filter((self) => isMine({ self, nodes: () => among }, piece))

test('each piece has one owner, every node some pieces, and only those of a node that goes change hands', () => {
  const counts = new Map<NodeId, number>()
  for (let piece = 0; piece < 300; piece++) {
    const [owner, ...more] = owners(piece, nodes)
    assert.ok(owner !== undefined && more.length === 0)
    counts.set(owner, (counts.get(owner) ?? 0) + 1)
    const [heir] = owners(piece, nodes.slice(0, 2))
    if (owner !== 'c') assert.equal(heir, owner)
  }
  for (const node of nodes) assert.ok(counts.get(node)! > 50, `${node}: ${counts.get(node)}`)
})
