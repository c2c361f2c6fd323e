/** An early look at If-Match and If-None-Match of a write. The database decides when the row is written. */
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId } from '../../shared/ids.ts'
import type { ObjectMetadata, WriteCondition } from '../metadata/contract.ts'
import { preconditionFailed } from './conditions.ts'

/** @throws AnvilError PreconditionFailed, NoSuchKey */
export async function checkWriteCondition(
  metadata: Pick<ObjectMetadata, 'get'>, bucketId: BucketId, key: string, condition: WriteCondition,
): Promise<void> {
  if (condition.ifMatch === undefined && condition.ifNoneMatch === undefined) return
  const record = await metadata.get(bucketId, key)
  if (condition.ifNoneMatch !== undefined && record !== null) throw preconditionFailed('If-None-Match')
  if (condition.ifMatch === undefined) return
  if (record === null) throw new AnvilError('NoSuchKey', 'The specified key does not exist.')
  if (condition.ifMatch !== '*' && condition.ifMatch !== record.etag) throw preconditionFailed('If-Match')
}
