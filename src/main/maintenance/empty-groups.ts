/**
 * Deletes closed groups that hold nothing: those of views that lasted for a moment, and those that re-encoding or deletes have
 * emptied. A closed group that is empty stays so (DESIGN §13, rule 4). What drives still hold of a deleted one is known to be
 * nobody's (orphans.ts).
 */
import type { PgId } from '../../shared/ids.ts'
import { monotonicMs } from '../../shared/monotonic.ts'
import type { DatabaseIdentity, ObjectMetadata } from '../metadata/contract.ts'
import { count, type Progress } from './background.ts'

export interface EmptyGroupOptions {
  metadata: Pick<ObjectMetadata, 'closedGroups' | 'placementGroup' | 'blobsOfGroup' | 'deleteEmptyGroups'>
  /** The database, while what is in it may be taken for the truth; null: nothing is removed now. */
  database(): Promise<DatabaseIdentity | null>
  /**
   * How long a group that has held something stays without blobs: meanwhile its shards are found on the drives and condemned,
   * which is forgotten sooner while the members are known. It decides when to try, never whether.
   */
  emptyForMs: number
  /** The group's row is gone: others are told. */
  changed(pgId: PgId): void
}

/** Groups that one round looks into. */
const PAGE = 50
/** A group that is empty but named by something is tried again after this time. */
const TRY_AGAIN_MS = 60_000

export class EmptyGroups {
  readonly #options: EmptyGroupOptions
  /** Groups that this process has closed, and has not looked into yet. */
  #closed: PgId[] = []
  /** The rest is looked into page by page. */
  #reached: PgId | null = null
  /** Empty groups, and when each is to be deleted. */
  readonly #dueMs = new Map<PgId, number>()

  constructor(options: EmptyGroupOptions) {
    this.#options = options
  }

  /** By this process: it may never have held anything. */
  closed(id: PgId): void {
    this.#closed.push(id)
  }

  async round(progress: Progress): Promise<void> {
    const { metadata, database, changed } = this.#options
    const under = await database()
    if (under === null) return
    await this.#look()
    const now = monotonicMs()
    const due = [...this.#dueMs].filter(([, dueMs]) => dueMs <= now).map(([id]) => id).slice(0, PAGE)
    if (due.length === 0) return
    const deleted = new Set(await metadata.deleteEmptyGroups(due, under))
    for (const id of due) {
      if (deleted.has(id)) changed(id)
      // another node may have deleted it
      if (deleted.has(id) || (await metadata.placementGroup(id)) === null) this.#dueMs.delete(id)
      else this.#dueMs.set(id, now + TRY_AGAIN_MS)
    }
    count(progress, 'deleted', deleted.size)
  }

  async #look(): Promise<void> {
    const { metadata, emptyForMs } = this.#options
    const page = await metadata.closedGroups(this.#reached, PAGE)
    this.#reached = page.length < PAGE ? null : page.at(-1)!.id
    const fresh = await Promise.all(this.#closed.splice(0, PAGE).map((id) => metadata.placementGroup(id)))
    for (const { id, bytes } of [...page, ...fresh.filter((group) => group !== null)]) {
      if (this.#dueMs.has(id) || (await metadata.blobsOfGroup(id, null, 1)).length > 0) continue
      this.#dueMs.set(id, monotonicMs() + (bytes === 0 ? 0 : emptyForMs))
    }
  }
}

/** Closed groups in which no blob is, each asked about until it is: none comes any more, and they are neither moved nor re-encoded. */
export class EmptyClosedGroups {
  readonly #metadata: Pick<ObjectMetadata, 'blobsOfGroup'>
  readonly #known = new Set<PgId>()

  constructor(metadata: Pick<ObjectMetadata, 'blobsOfGroup'>) {
    this.#metadata = metadata
  }

  /** @param id of a closed group */
  async has(id: PgId): Promise<boolean> {
    if (!this.#known.has(id) && (await this.#metadata.blobsOfGroup(id, null, 1)).length === 0) this.#known.add(id)
    return this.#known.has(id)
  }

  clear(): void {
    this.#known.clear()
  }
}
