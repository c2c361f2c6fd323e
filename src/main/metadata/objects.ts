/** Writes and deletes of live objects: what the group commit takes, and copies by reference. */
import { AnvilError, assert } from '../../shared/errors.ts'
import type { BucketId } from '../../shared/ids.ts'
import type { MissingShard, ObjectRecord, PutOutcome, WriteCondition } from './contract.ts'
import type { GroupCommit } from './group-commit.ts'
import { checkKey, checkText, isStorable } from './keys.ts'
import { OUTCOME, type ProgramName } from './programs.ts'
import { missingMask } from './references.ts'

export class Objects {
  readonly #commits: GroupCommit

  constructor(commits: GroupCommit) {
    this.#commits = commits
  }

  async put(record: ObjectRecord, condition: WriteCondition, missing: MissingShard[]): Promise<PutOutcome> {
    assert(record.body.kind !== 'parts', 'a body of parts comes from completeUpload or putReference')
    checkRecord(record)
    const { program, etag } = programOf(condition)
    const { code, modifiedMs } = await this.#commits.submit({
      program,
      bucketId: record.bucketId,
      key: record.key,
      record,
      condition: etag,
      missing: missingMask(missing),
    })
    if (code !== 0) throw refusal(code, condition)
    return { modifiedMs }
  }

  async delete(bucketId: BucketId, key: string, condition: WriteCondition): Promise<{ existed: boolean }> {
    // Such a key has no object.
    if (!isStorable(key)) return { existed: false }
    if (condition.ifNoneMatch !== undefined) throw new AnvilError('NotImplemented', 'If-None-Match on a delete', { details: { feature: 'If-None-Match' } })
    const { code } = await this.#commits.submit({
      program: 'delete',
      bucketId,
      key,
      record: null,
      condition: condition.ifMatch ?? null,
      missing: null,
    })
    if (code === OUTCOME.ABSENT && condition.ifMatch === undefined) return { existed: false }
    if (code !== 0) throw refusal(code, condition)
    return { existed: true }
  }

  /** Each key on its own: one that fails does not stop the others. */
  deleteMany(bucketId: BucketId, keys: { key: string; ifMatch?: string }[]): Promise<({ existed: boolean } | { error: unknown })[]> {
    return Promise.all(
      keys.map(({ key, ifMatch }) =>
        this.delete(bucketId, key, ifMatch === undefined ? {} : { ifMatch }).catch((error: unknown) => ({ error })),
      ),
    )
  }
}

/** @throws AnvilError InvalidArgument for text that Postgres cannot hold */
export function checkRecord(record: ObjectRecord): void {
  checkKey(record.key)
  checkText('etag', record.etag)
  checkText('storageClass', record.storageClass)
  if (record.checksum !== null) checkText('checksum', record.checksum.value)
}

function programOf({ ifNoneMatch, ifMatch }: WriteCondition): { program: ProgramName; etag: string | null } {
  if (ifNoneMatch !== undefined) return { program: 'create', etag: null }
  if (ifMatch !== undefined) return { program: 'replace', etag: ifMatch }
  return { program: 'put', etag: null }
}

/** The error of a row that its batch left out. */
export function refusal(code: number, condition: WriteCondition): AnvilError {
  switch (code) {
    case OUTCOME.NO_SUCH_BUCKET:
      return new AnvilError('NoSuchBucket', 'the bucket does not exist or is being deleted')
    case OUTCOME.GROUP_CLOSED:
      return new AnvilError('MetadataUnavailable', 'the placement group was closed during the upload', { details: { reason: 'placement-group-closed' } })
    case OUTCOME.CONDEMNED:
      return new AnvilError('MetadataUnavailable', 'the upload took so long that its shards were given up', { details: { reason: 'condemned' } })
    case OUTCOME.PRECONDITION_FAILED:
      return new AnvilError('PreconditionFailed', 'a condition of the request does not hold', {
        details: { condition: condition.ifNoneMatch === undefined ? 'If-Match' : 'If-None-Match' },
      })
    case OUTCOME.ABSENT:
      return new AnvilError('NoSuchKey', 'the key does not exist')
    default:
      return new AnvilError('Internal', `unknown outcome ${code}`)
  }
}
