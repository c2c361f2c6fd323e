/**
 * Weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005): a slot's winners
 * are the drives with the highest scores -weight / ln(hash). When a drive comes or goes, only the slots that it wins or
 * held change. Pure.
 */
import { createHash } from 'node:crypto'
import { assert } from '../../shared/errors.ts'
import type { ErasureCode, PlacementDrive } from './erasure-code.ts'

/** A number in (0, 1) that depends on slot and drive only: the first 52 bits of SHA-256. */
function unitHash(slot: number, driveId: string): number {
  const digest = createHash('sha256').update(`anvil-slot:${slot}:${driveId}`).digest()
  const bits = digest.readUIntBE(0, 6) * 16 + (digest[6]! >> 4)
  return (bits + 0.5) / 2 ** 52
}

const score = (slot: number, drive: PlacementDrive): number =>
  -Math.max(drive.totalBytes, 1) / Math.log(unitHash(slot, drive.driveId))

/**
 * The k + m drives of a slot, best first: index i of the placement group lies on the i-th. With several nodes, at most m
 * on one of them. The drives must be able to fill the code (see `chooseErasureCode`).
 */
export function slotWinners(slot: number, drives: readonly PlacementDrive[], code: ErasureCode): string[] {
  const ranked = drives
    .map((drive) => ({ drive, score: score(slot, drive) }))
    .sort((a, b) => b.score - a.score || (a.drive.driveId < b.drive.driveId ? -1 : 1))
  const oneNode = drives.every((drive) => drive.nodeId === drives[0]!.nodeId)
  const perNode = new Map<string, number>()
  const winners: string[] = []
  for (const { drive } of ranked) {
    const held = perNode.get(drive.nodeId) ?? 0
    if (!oneNode && held >= code.m) continue
    perNode.set(drive.nodeId, held + 1)
    winners.push(drive.driveId)
    if (winners.length === code.k + code.m) return winners
  }
  assert(false, `slot ${slot}: ${drives.length} drives cannot fill ${code.k}+${code.m}`)
}
