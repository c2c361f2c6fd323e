/** GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption: SSE-S3 as the bucket's default, or none. */
import { malformedXml, notImplemented, S3Error } from '../errors.ts'
import { emptyAnswer, xmlAnswer } from '../http/answer.ts'
import { child, childText, parseXml } from '../xml/reader.ts'
import { element, parent, s3Document } from '../xml/writer.ts'
import type { Operation } from './operation.ts'

export const getBucketEncryption: Operation = {
  name: 'GetBucketEncryption',
  access: { kind: 'any', actions: ['bucket:read'], on: 'bucket' },
  run(call) {
    if (!call.bucket.defaultEncryption) {
      return Promise.reject(new S3Error('ServerSideEncryptionConfigurationNotFoundError', 404, 'The server side encryption configuration was not found', {
        elements: [['BucketName', call.bucketName]],
      }))
    }
    return Promise.resolve(xmlAnswer(s3Document('ServerSideEncryptionConfiguration', parent('Rule',
      parent('ApplyServerSideEncryptionByDefault', element('SSEAlgorithm', 'AES256')) + element('BucketKeyEnabled', false)))))
  },
}

export const putBucketEncryption: Operation = {
  name: 'PutBucketEncryption',
  access: { kind: 'any', actions: ['bucket:write'], on: 'bucket' },
  async run(call) {
    const root = parseXml(await call.readDocument())
    const rules = root.children.filter((item) => item.name === 'Rule')
    const byDefault = rules.length === 1 ? child(rules[0]!, 'ApplyServerSideEncryptionByDefault') : undefined
    if (root.name !== 'ServerSideEncryptionConfiguration' || byDefault === undefined) throw malformedXml()
    const algorithm = childText(byDefault, 'SSEAlgorithm')
    if (algorithm === 'aws:kms' || algorithm === 'aws:kms:dsse') throw notImplemented(`SSEAlgorithm ${algorithm}`)
    if (algorithm !== 'AES256' || child(byDefault, 'KMSMasterKeyID') !== undefined) throw malformedXml()
    if (childText(rules[0]!, 'BucketKeyEnabled') === 'true') throw notImplemented('BucketKeyEnabled')
    await call.directory.setDefaultEncryption(call.bucket.id, true)
    return emptyAnswer(200)
  },
}

export const deleteBucketEncryption: Operation = {
  name: 'DeleteBucketEncryption',
  access: { kind: 'any', actions: ['bucket:write'], on: 'bucket' },
  async run(call) {
    await call.directory.setDefaultEncryption(call.bucket.id, false)
    return emptyAnswer(204)
  },
}
