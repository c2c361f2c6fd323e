import { emptyAnswer } from '../http/answer.ts'
import { parseAttributes } from '../request/attributes.ts'
import { parseBodySpec } from '../request/body-spec.ts'
import { checksumHeaders } from '../request/checksum.ts'
import { parseWriteCondition } from '../request/conditions.ts'
import { encryptionHeaders, parseEncryption } from '../request/encryption.ts'
import { refuseUnbuilt } from '../request/unbuilt.ts'
import { quoted } from './object-answer.ts'
import type { Operation } from './operation.ts'

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html */
export const putObject: Operation = {
  name: 'PutObject',
  access: { kind: 'any', actions: ['object:write'], on: 'key' },
  async run(call) {
    const { headers, bucket, key } = call
    refuseUnbuilt(headers)
    const sink = await call.store.putObject({
      bucket,
      key,
      ...parseAttributes(headers),
      body: { ...parseBodySpec(headers, call.authentication.payload), requestId: call.requestId },
      encryption: parseEncryption(call.head),
      condition: parseWriteCondition(headers),
    })
    const result = await call.upload(sink)
    return emptyAnswer(200, [['ETag', quoted(result.etag)], ...checksumHeaders(result.checksum), ...encryptionHeaders(result.encryption)])
  },
}
