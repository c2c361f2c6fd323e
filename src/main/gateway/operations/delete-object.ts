import { notImplemented } from '../errors.ts'
import { emptyAnswer } from '../http/answer.ts'
import { parseWriteCondition } from '../request/conditions.ts'
import type { Operation } from './operation.ts'

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html: a key that is not there is no error. */
export const deleteObject: Operation = {
  name: 'DeleteObject',
  access: { kind: 'any', actions: ['object:delete'], on: 'key' },
  async run(call) {
    // Conditions that were not looked at would delete what the client wanted to keep.
    for (const name of ['x-amz-if-match-last-modified-time', 'x-amz-if-match-size']) if (call.headers.has(name)) throw notImplemented(name)
    await call.store.deleteObject(call.bucket.id, call.key, parseWriteCondition(call.headers))
    return emptyAnswer(204)
  },
}
