/**
 * Which code (k data + m parity shards) a set of live drives is written with. Pure.
 *
 * A failure domain is a node when there are several, otherwise a drive: never more than m shards of a placement group lie
 * on one node (DESIGN §7).
 */
export interface ErasureCode {
  k: number
  m: number
}

/** What placement knows of a drive that may take new shards. */
export interface PlacementDrive {
  driveId: string
  nodeId: string
  /** Total bytes: weight in rendezvous hashing. */
  totalBytes: number
}

/** The widest codes first. On one node the first one that its drives can fill; on several, see `fits`. */
const AUTO: readonly ErasureCode[] = [
  { k: 4, m: 2 }, { k: 3, m: 3 }, { k: 3, m: 2 }, { k: 2, m: 2 }, { k: 1, m: 2 }, { k: 1, m: 1 },
]
const AUTO_ONE_NODE: readonly ErasureCode[] = AUTO.filter((code) => code.k !== code.m || code.k < 3)

function drivesByNode(drives: readonly PlacementDrive[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const drive of drives) counts.set(drive.nodeId, (counts.get(drive.nodeId) ?? 0) + 1)
  return counts
}

/** Whether every placement group of this code finds k + m drives with at most m on one node (on one node: any k + m drives). */
function fits(code: ErasureCode, counts: Map<string, number>): boolean {
  let places = 0
  for (const count of counts.values()) places += counts.size === 1 ? count : Math.min(count, code.m)
  return places >= code.k + code.m
}

/**
 * The code for new placement groups over the drives that are alive and answering.
 *
 * @param wish `auto`, or the operator's ANVIL_ERASURE_CODE: taken while enough drives live, otherwise narrowed like `auto`
 * @returns null when no drive lives
 */
export function chooseErasureCode(drives: readonly PlacementDrive[], wish: 'auto' | ErasureCode): ErasureCode | null {
  if (drives.length === 0) return null
  const counts = drivesByNode(drives)
  if (wish !== 'auto' && fits(wish, counts)) return { k: wish.k, m: wish.m }
  const candidates = counts.size === 1 ? AUTO_ONE_NODE : AUTO
  const widest = wish === 'auto' ? 6 : wish.k + wish.m
  for (const code of candidates) {
    if (code.k + code.m <= widest && fits(code, counts)) return { k: code.k, m: code.m }
  }
  // an operator's wish may be narrower than every automatic code: then plain mirroring, then one copy
  return drives.length >= 2 ? { k: 1, m: 1 } : { k: 1, m: 0 }
}
