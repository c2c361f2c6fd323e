import { emptyAnswer } from '../http/answer.ts'
import { parseWriteCondition } from '../request/conditions.ts'
import type { Operation } from './operation.ts'

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html: a key that is not there is no error. */
export const deleteObject: Operation = {
  name: 'DeleteObject',
  access: { kind: 'any', actions: ['object:delete'], on: 'key' },
  async run(call) {
    await call.store.deleteObject(call.bucket.id, call.key, parseWriteCondition(call.headers))
    return emptyAnswer(204)
  },
}
