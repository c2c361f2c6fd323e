/** The protocol's times and counts. docs/gossip.md says why these. */
import type { SwimConfig } from './contract.ts'

export const DEFAULTS: SwimConfig = {
  probeIntervalMs: 500,
  probeTimeoutMs: 400,
  probeEndMs: 1000,
  indirectProbes: 3,
  gossipIntervalMs: 200,
  gossipFanout: 3,
  retransmitFactor: 4,
  retransmitMax: 12,
  recordsInFull: 6,
  suspicionFactor: 4,
  suspicionFactorBeyond: 1,
  suspicionFloorMs: 5000,
  suspicionMaxFactor: 6,
  suspicionConfirmations: 3,
  healthMax: 8,
  quietMs: 1500,
  exchangeIntervalMs: 30_000,
  reconnectIntervalMs: 10_000,
  forgetMs: 24 * 3600_000,
  maxMembers: 32_768,
  packetBytes: 1200,
}

/** So few others are all told at once. */
export const FEW_MEMBERS = 16

/** Nodes hear of a death at slightly different times: near the end nobody tells it any more, or some would learn it again whom others let forget. */
export const isTold = (config: SwimConfig, goneMs: number): boolean => goneMs < (config.forgetMs * 23) / 24

export interface Share {
  /** How often a piece of news is sent by each node that holds it. */
  times: number
  /** How often a record is sent itself; after that notices of it do. */
  inFull: number
}

/** Sent so rarely in full, a record reaches few, and most ask for it after a notice. */
const LEAST_IN_FULL = 1

/**
 * Of n members that each send a piece c times to others at random, about n e^-c are missed (Demers et al. 1987, §1.4). c does
 * not grow beyond what hundreds need: who was missed is found by comparing views.
 *
 * @param waitingBytes what the records that wait take, each in full: with more than the packets of one interval hold, they go
 *   out in full less often, or the first would keep the last waiting
 */
export function shareOf(config: SwimConfig, members: number, waitingBytes: number): Share {
  const toAll = members - 1 <= FEW_MEMBERS ? members - 1 : 0
  const grown = config.retransmitFactor * Math.ceil(Math.log10(members + 1))
  const fits = Math.floor((config.recordsInFull * config.gossipFanout * config.packetBytes) / Math.max(1, waitingBytes))
  const inFull = Math.max(LEAST_IN_FULL, Math.min(config.recordsInFull, fits))
  return { times: Math.max(toAll, Math.min(grown, config.retransmitMax)), inFull: Math.max(toAll, inFull) }
}

/** Of members: a hundred. */
const MANY_DECADES = 2

/**
 * How long a member stays suspected once `confirmations` others than the first have accused it (Lifeguard: Dadgar, Phillips,
 * Currey 2018, §IV.B): from the longest time, in which a wrong accuser alone is most likely refuted, down to the least.
 * That is what a member needs to hear of it and to refute, and how long it may be silent: only the first grows with the
 * number of members, and beyond a hundred by `suspicionFactorBeyond * probeEndMs` (a second) for ten times as many.
 */
export function suspicionMs(config: SwimConfig, members: number, confirmations: number): number {
  const decades = Math.max(1, Math.log10(Math.max(1, members)))
  const factor = config.suspicionFactor * Math.min(decades, MANY_DECADES) + config.suspicionFactorBeyond * Math.max(0, decades - MANY_DECADES)
  const least = Math.max(config.suspicionFloorMs, factor * config.probeEndMs)
  // Among three members nobody is left to confirm but one.
  const wanted = Math.min(config.suspicionConfirmations, members - 2)
  if (wanted <= 0) return least
  const longest = config.suspicionMaxFactor * least
  return Math.max(least, longest - ((longest - least) * Math.log(confirmations + 1)) / Math.log(wanted + 1))
}
