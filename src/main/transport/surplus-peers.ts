/**
 * Which connections to give up, so that a node of thousands of members holds a bounded number: those to peers that nothing
 * was said to or heard from for the longest time.
 *
 * libp2p prunes by itself only connections without streams of their own, and at its limit it refuses whoever comes. Here
 * each connection carries a stream for packets, so it would never close one and refuse healthy members.
 */
import type { ConnectionBounds } from './contract.ts'

export interface ConnectedPeer {
  /** By performance.now(). */
  readonly lastUsedMs: number
  /** A request is under way. */
  readonly busy: boolean
}

/** Beyond so many times `kept`, peers go after a tenth of `unusedMs`: less, and packets on their way would be lost. */
const BURST = 2
const SOONER = 10

/** The peers of `connected` to part with, the least recently used first. */
export function surplusPeers<P extends ConnectedPeer>(connected: readonly P[], { kept, unusedMs }: ConnectionBounds, nowMs: number): P[] {
  const surplus = connected.length - kept
  if (surplus <= 0) return []
  const tooMany = connected.length - BURST * kept
  return connected
    .filter(({ busy }) => !busy)
    .toSorted((a, b) => a.lastUsedMs - b.lastUsedMs)
    .slice(0, surplus)
    .filter(({ lastUsedMs }, i) => nowMs - lastUsedMs >= (i < tooMany ? unusedMs / SOONER : unusedMs))
}
