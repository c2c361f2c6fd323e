/** What decides whether groups are moved or re-encoded (`remedyFor`), as it is at one moment. */
import type { DriveId } from '../../shared/ids.ts'
import type { PlacementDrive } from '../placement/erasure-code.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { leastSurvived, lossesSurvived } from '../placement/losses-survived.ts'
import type { DriveSituation } from '../placement/remedy.ts'
import { lookAtDrives, StandingDrives, type AbsenceOptions } from './absent-drives.ts'

export interface SituationOptions extends AbsenceOptions {
  groups: Pick<PlacementGroups, 'code' | 'codeOf' | 'winners'>
}

export interface Situation extends DriveSituation {
  gone: ReadonlySet<DriveId>
  lost: ReadonlySet<DriveId>
}

export class DriveSituations {
  readonly #options: SituationOptions
  readonly #standing: StandingDrives

  constructor(options: SituationOptions) {
    this.#options = options
    this.#standing = new StandingDrives(options)
  }

  /** To be asked now and then: a drive of a node that answers counts as away from when it was last seen here. */
  async now(): Promise<Situation> {
    const { cluster, groups } = this.#options
    this.#standing.note()
    const look = await lookAtDrives(this.#options)
    const placeable = new Map(cluster.placeable().map((drive) => [drive.driveId, drive]))
    const standing = this.#standing.of(look)
    const code = groups.code
    return {
      placeable: [...placeable.values()],
      // a drive that takes shards is known better by its node's own word than by the rows
      known: new Map<string, PlacementDrive>([...look.known.map((drive) => [drive.driveId, drive] as const), ...placeable]),
      // one that was carried to another host takes shards, whatever became of the first
      gone: new Set([...look.gone].filter((driveId) => !placeable.has(driveId))),
      lost: look.lost,
      code,
      settledCode: groups.codeOf(standing),
      whole: standing.length === placeable.size,
      fresh: code === null ? null : leastSurvived(groups.winners().map((members) =>
        lossesSurvived(code.k, members.flatMap((driveId) => placeable.get(driveId) ?? [])))),
    }
  }
}
