/**
 * Weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005): a slot's winners
 * are the drives with the highest scores -weight / ln(hash). When a drive comes or goes, only the slots that it wins or
 * held change. Pure.
 */
import { createHash } from 'node:crypto'
import { assert } from '../../shared/errors.ts'
import { PLACEMENT_SLOTS } from '../../shared/limits.ts'
import type { PlacementPlan } from './erasure-code.ts'
import { boundsOf, weightOf, zoneOf, type Bounds, type PlacementDrive } from './failure-domains.ts'

/** A number in (0, 1) that depends on slot and drive only: the first 52 bits of SHA-256. */
function unitHash(slot: number, driveId: string): number {
  const digest = createHash('sha256').update(`anvil-slot:${slot}:${driveId}`).digest()
  const bits = digest.readUIntBE(0, 6) * 16 + (digest[6]! >> 4)
  return (bits + 0.5) / 2 ** 52
}

/** Logarithms of the hashes of a drive, by slot; NaN where not computed yet. A thousand drives of 256 slots take half a second anew. */
const logarithms = new Map<string, Float64Array>()
const MAX_REMEMBERED_DRIVES = 4096

function logHash(slot: number, driveId: string): number {
  if (slot >= PLACEMENT_SLOTS) return Math.log(unitHash(slot, driveId))
  let known = logarithms.get(driveId)
  if (known === undefined) {
    if (logarithms.size >= MAX_REMEMBERED_DRIVES) logarithms.clear()
    logarithms.set(driveId, (known = new Float64Array(PLACEMENT_SLOTS).fill(Number.NaN)))
  }
  if (Number.isNaN(known[slot])) known[slot] = Math.log(unitHash(slot, driveId))
  return known[slot]!
}

const score = (slot: number, drive: PlacementDrive): number => -weightOf(drive) / logHash(slot, drive.driveId)

/**
 * The k + m drives of a slot, best first: index i of the placement group lies on the i-th. No node and no zone holds more
 * of them than the plan's domain allows. Taking the best that still fit, one after the other, is the greedy algorithm on a
 * laminar matroid: it finds k + m where that is possible at all, and one more drive changes one winner at most.
 */
export function slotWinners(slot: number, drives: readonly PlacementDrive[], plan: PlacementPlan): string[] {
  return winnersWithin(slot, drives, plan, boundsOf(drives, plan, plan.keeps))
}

/** The winners of every slot from 0 on. */
export function allWinners(slots: number, drives: readonly PlacementDrive[], plan: PlacementPlan): string[][] {
  const bounds = boundsOf(drives, plan, plan.keeps)
  return Array.from({ length: slots }, (_, slot) => winnersWithin(slot, drives, plan, bounds))
}

function winnersWithin(slot: number, drives: readonly PlacementDrive[], plan: PlacementPlan, bounds: Bounds): string[] {
  const width = plan.k + plan.m
  assert(drives.length >= width, `slot ${slot}: ${drives.length} drives cannot fill ${plan.k}+${plan.m}`)
  const winners: PlacementDrive[] = []
  const passedOver: PlacementDrive[] = []
  const onNode = new Map<string, number>()
  const inZone = new Map<string, number>()
  for (const drive of ranked(slot, drives)) {
    if (winners.length === width) break
    const node = onNode.get(drive.nodeId) ?? 0
    const zone = inZone.get(zoneOf(drive)) ?? 0
    if (node >= bounds.node.get(drive.nodeId)! || zone >= bounds.zone.get(zoneOf(drive))!) {
      passedOver.push(drive)
      continue
    }
    onNode.set(drive.nodeId, node + 1)
    inZone.set(zoneOf(drive), zone + 1)
    winners.push(drive)
  }
  // only where the domain is not kept: a node whose few large drives cannot take the share that their bytes suggest
  assert(winners.length === width || plan.keeps === 'drive', `slot ${slot}: ${drives.length} drives cannot keep each ${plan.keeps} with ${plan.k}+${plan.m}`)
  return [...winners, ...passedOver.slice(0, width - winners.length)].map(({ driveId }) => driveId)
}

/** The drives by their scores for a slot, best first. */
export const ranked = (slot: number, drives: readonly PlacementDrive[]): PlacementDrive[] =>
  drives
    .map((drive) => ({ drive, score: score(slot, drive) }))
    .sort((a, b) => b.score - a.score || (a.drive.driveId < b.drive.driveId ? -1 : 1))
    .map(({ drive }) => drive)
