import { AnvilError } from '../../../shared/errors.ts'
import { hidingMissing } from './object-answer.ts'
import type { Call } from './operation.ts'

/** Makes sure that the object is there, for answers that do not depend on what it holds. @throws NoSuchKey, AccessDenied */
export async function headExisting(call: Call): Promise<void> {
  const { bucket, key } = call
  try {
    await call.store.headObject({ bucket, key, conditions: {}, range: { kind: 'whole' }, readKey: null })
  } catch (error) {
    // It is there: only its key (SSE-C) is not with this request.
    if (AnvilError.is(error, 'InvalidRequest') || AnvilError.is(error, 'WrongEncryptionKey')) return
    hidingMissing(call, bucket, key)(error)
  }
}
