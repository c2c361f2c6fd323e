/**
 * DESIGN §13, rule 3: nothing is removed on the word of a lesser database. Drives remember the Postgres system id and the
 * highest timeline that they have seen; after either changes, removal pauses until an operator confirms.
 */
import type { DriveId } from '../../shared/ids.ts'
import type { Native } from '../../shared/native.ts'
import type { DatabaseIdentity, ObjectMetadata } from '../metadata/contract.ts'

const MARK = 'database'

export interface RemovalGuardOptions {
  native: Pick<Native, 'driveMark' | 'setDriveMark'>
  metadata: Pick<ObjectMetadata, 'identity'>
  drives(): DriveId[]
}

export class RemovalGuard {
  readonly #options: RemovalGuardOptions
  /** Why removal is paused; '' when it is not. */
  reason = ''

  constructor(options: RemovalGuardOptions) {
    this.#options = options
  }

  /**
   * The database that a removal may rest on now; the calls that end it take it as `under`. Null: removal is paused, `reason`
   * says why. Marks drives that have never seen a database. A node without drives knows nothing of earlier ones: removal, of
   * shards on any node's drives, is for the others.
   */
  async database(): Promise<DatabaseIdentity | null> {
    const { native, drives } = this.#options
    const identity = await this.#options.metadata.identity()
    if (!identity.readWrite) return this.#pause('the database is read-only')
    const remembering = drives()
    if (remembering.length === 0) return this.#pause('no drive of this node is online that remembers the database')
    for (const driveId of remembering) {
      const seen = native.driveMark(driveId, MARK)
      if (seen === null) await native.setDriveMark(driveId, MARK, markOf(identity))
      else if (seen !== markOf(identity)) {
        return this.#pause(`drive ${driveId} knew database ${seen}, this is ${markOf(identity)}: was it restored or promoted? `
          + 'Check it, then run "anvil admin removal confirm"')
      }
    }
    this.reason = ''
    return identity
  }

  /** An operator has checked the database: its identity is the right one from now on. */
  async confirm(): Promise<void> {
    const mark = markOf(await this.#options.metadata.identity())
    for (const driveId of this.#options.drives()) await this.#options.native.setDriveMark(driveId, MARK, mark)
  }

  #pause(reason: string): null {
    this.reason = reason
    return null
  }
}

const markOf = (identity: DatabaseIdentity): string => `${identity.systemId}/${identity.timeline}`
