/** Work on one drive after the other, of which one that fails must not keep the rest from theirs. */
import type { DriveId } from '../../shared/ids.ts'

/** Does the work of each drive, whatever becomes of the others. @throws what a drive threw; an AggregateError of several */
export async function eachDrive(drives: readonly DriveId[], work: (driveId: DriveId) => Promise<void>): Promise<void> {
  const errors: unknown[] = []
  for (const driveId of drives) {
    try {
      await work(driveId)
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length === 1) throw errors[0]
  if (errors.length > 1) throw new AggregateError(errors, errors.map((error) => (error instanceof Error ? error.message : String(error))).join('; '))
}
