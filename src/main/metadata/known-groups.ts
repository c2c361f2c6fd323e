/**
 * All placement groups, of which a look reads only those that have changed: the rest has a short line each. A group's code
 * never changes, its members only with its generation.
 */
import type { PgId } from '../../shared/ids.ts'
import type { PgState, PlacementGroup } from './contract.ts'

/** What tells whether a group is another one than before, and the one thing that changes all the time. */
export type GroupVersion = Pick<PlacementGroup, 'id' | 'state' | 'generation' | 'bytes'>

export interface GroupRows {
  /** Of all groups, in the order of their ids. */
  versions(): Promise<GroupVersion[]>
  /** Those of them that are still there. */
  rows(ids: PgId[]): Promise<PlacementGroup[]>
}

const ROWS_AT_ONCE = 1000

export class KnownGroups {
  readonly #database: GroupRows
  #known = new Map<PgId, PlacementGroup>()
  /** One look after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(database: GroupRows) {
    this.#database = database
  }

  /** As of the call, in the order of their ids. */
  look(states: readonly PgState[]): Promise<PlacementGroup[]> {
    const mine = this.#turn.then(() => this.#look())
    this.#turn = mine.catch(() => {}) // its caller hears of it; the next one looks all the same
    return mine.then((groups) => groups.filter((group) => states.includes(group.state)))
  }

  async #look(): Promise<PlacementGroup[]> {
    const versions = await this.#database.versions()
    const changed = versions.filter(({ id, state, generation }) => {
      const known = this.#known.get(id)
      return known?.state !== state || known.generation !== generation
    })
    const read = new Map<PgId, PlacementGroup>()
    for (let at = 0; at < changed.length; at += ROWS_AT_ONCE) {
      for (const row of await this.#database.rows(changed.slice(at, at + ROWS_AT_ONCE).map(({ id }) => id))) read.set(row.id, row)
    }
    const now = new Map<PgId, PlacementGroup>()
    const skipped = new Set(changed.map(({ id }) => id))
    for (const { id, bytes } of versions) {
      // one that was deleted between the two reads is in neither
      const group = read.get(id) ?? (skipped.has(id) ? undefined : this.#known.get(id))
      if (group !== undefined) now.set(id, group.bytes === bytes || read.has(id) ? group : { ...group, bytes })
    }
    this.#known = now
    return [...now.values()]
  }
}
