/**
 * Which code (k data + m parity shards) a set of live drives is written with, and which failure domains it keeps. Pure.
 *
 * A domain is kept when no placement group has more than m shards in one instance of it: then any one of them may be lost
 * (DESIGN §7). Drives are always kept, as each holds one shard at most.
 */
import { domainsOf, fillable, type FailureDomain, type PlacementDrive } from './failure-domains.ts'

export type { FailureDomain, PlacementDrive } from './failure-domains.ts'

export interface ErasureCode {
  k: number
  m: number
}

/** A code, and the widest domain that it keeps: `drive` alone, also each `node`, or also each `zone`. */
export interface PlacementPlan extends ErasureCode {
  keeps: FailureDomain
}

/** Whether a code protects less than another: fewer losses survived first, then fewer data shards. */
export const isNarrower = (one: ErasureCode, other: ErasureCode): boolean => one.m < other.m || (one.m === other.m && one.k < other.k)

/** The widest codes first. */
const AUTO: readonly ErasureCode[] = [
  { k: 4, m: 2 }, { k: 3, m: 3 }, { k: 3, m: 2 }, { k: 2, m: 2 }, { k: 1, m: 2 }, { k: 1, m: 1 },
]

/**
 * A code that keeps a domain is taken when it makes use of at least this share of what the drives could hold without
 * regard to that domain: a newcomer with one drive beside a host of six does not narrow the code to mirrors.
 */
const LEAST_SHARE_OF_CAPACITY = 0.5
/** Two codes that differ by less hold the same. */
const EVEN = 1e-6

/** What a code can hold of the drives' bytes (objects, not shards), from 0 to 1, when it keeps `domain`. */
function usable(drives: readonly PlacementDrive[], code: ErasureCode, domain: FailureDomain): number {
  return fillable(drives, code, domain) * code.k / (code.k + code.m)
}

/** The code of `candidates` that holds most, the first among equals; those that lose data with the second loss only where no other fits. */
function bestOf(candidates: readonly ErasureCode[], drives: readonly PlacementDrive[], domain: FailureDomain): { code: ErasureCode; usable: number } | null {
  let best: { code: ErasureCode; usable: number } | null = null
  for (const code of candidates) {
    if (best !== null && best.code.m >= 2 && code.m < 2) break
    const holds = usable(drives, code, domain)
    if (holds > 0 && (best === null || holds > best.usable * (1 + EVEN))) best = { code, usable: holds }
  }
  return best
}

/**
 * The code for new placement groups over the drives that are alive and answering.
 *
 * `auto`: over hosts (or zones) that are alike it is the widest code that keeps them, 4+2 from three equal hosts up and 3+3
 * on two. Where they are so unlike that this would waste most of the drives, the code is that of as many drives on one
 * host, and the domain is not kept (`keeps` says so; `lossWarnings` warns of it).
 *
 * @param wish `auto`, or the operator's ANVIL_ERASURE_CODE: taken while enough drives live, otherwise narrowed like `auto`
 * @returns null when no drive lives
 */
export function chooseErasureCode(drives: readonly PlacementDrive[], wish: 'auto' | ErasureCode): PlacementPlan | null {
  if (drives.length === 0) return null
  const widest = wish === 'auto' ? Infinity : wish.k + wish.m
  const narrower = AUTO.filter((code) => code.k + code.m <= widest)
  const wished = wish === 'auto' ? [] : [{ k: wish.k, m: wish.m }]
  // any code fits drives of which there are enough; 3+3 is for two hosts
  const plain = [...wished, ...narrower.filter((code) => code.k !== 3 || code.m !== 3)].find((code) => code.k + code.m <= drives.length)
  if (plain === undefined) return drives.length === 1 ? { k: 1, m: 0, keeps: 'drive' } : { k: 1, m: 1, keeps: 'drive' }

  let plan: PlacementPlan = { ...plain, keeps: 'drive' }
  let holds = plain.k / (plain.k + plain.m)
  for (const domain of domainsOf(drives)) {
    const kept = bestOf(wished, drives, domain)
    const enough = (one: typeof kept) => one !== null && one.usable >= holds * LEAST_SHARE_OF_CAPACITY * (1 - EVEN)
    const best = enough(kept) ? kept : bestOf(narrower, drives, domain)
    if (best === null || !enough(best)) break
    plan = { ...best.code, keeps: domain }
    holds = best.usable
  }
  return plan
}
