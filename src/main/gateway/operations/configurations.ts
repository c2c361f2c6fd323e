/**
 * Configurations that S3 has and Anvil has not yet. Reading one of a bucket that could not have it gets S3's truthful
 * answer for "none"; writing one is refused (route.ts).
 */
import { S3Error } from '../errors.ts'
import { xmlAnswer } from '../http/answer.ts'
import { element, parent, s3Document } from '../xml/writer.ts'
import { headExisting } from './existing.ts'
import type { Operation } from './operation.ts'

const bucketRead = { kind: 'any', actions: ['bucket:read'], on: 'bucket' } as const
const objectRead = { kind: 'any', actions: ['object:read'], on: 'key' } as const

const absent = (name: string, code: string, status: number, message: string): Operation => ({
  name, access: bucketRead,
  run: (call) => Promise.reject(new S3Error(code, status, message, { elements: [['BucketName', call.bucketName]] })),
})

const document = (name: string, root: string, content: string): Operation => ({
  name, access: bucketRead, run: () => Promise.resolve(xmlAnswer(s3Document(root, content))),
})

/** By the name of the sub-resource. */
export const bucketConfigurations: Readonly<Record<string, Operation | null>> = {
  versioning: document('GetBucketVersioning', 'VersioningConfiguration', ''),
  policy: absent('GetBucketPolicy', 'NoSuchBucketPolicy', 404, 'The bucket policy does not exist'),
  policyStatus: absent('GetBucketPolicyStatus', 'NoSuchBucketPolicy', 404, 'The bucket policy does not exist'),
  cors: absent('GetBucketCors', 'NoSuchCORSConfiguration', 404, 'The CORS configuration does not exist'),
  lifecycle: absent('GetBucketLifecycleConfiguration', 'NoSuchLifecycleConfiguration', 404, 'The lifecycle configuration does not exist'),
  tagging: absent('GetBucketTagging', 'NoSuchTagSet', 404, 'The TagSet does not exist'),
  website: absent('GetBucketWebsite', 'NoSuchWebsiteConfiguration', 404, 'The specified bucket does not have a website configuration'),
  replication: absent('GetBucketReplication', 'ReplicationConfigurationNotFoundError', 404, 'The replication configuration was not found'),
  'object-lock': absent('GetObjectLockConfiguration', 'ObjectLockConfigurationNotFoundError', 404, 'Object Lock configuration does not exist for this bucket'),
  publicAccessBlock: absent('GetPublicAccessBlock', 'NoSuchPublicAccessBlockConfiguration', 404, 'The public access block configuration was not found'),
  logging: document('GetBucketLogging', 'BucketLoggingStatus', ''),
  notification: document('GetBucketNotificationConfiguration', 'NotificationConfiguration', ''),
  accelerate: document('GetBucketAccelerateConfiguration', 'AccelerateConfiguration', ''),
  requestPayment: document('GetBucketRequestPayment', 'RequestPaymentConfiguration', element('Payer', 'BucketOwner')),
  ownershipControls: document('GetBucketOwnershipControls', 'OwnershipControls', parent('Rule', element('ObjectOwnership', 'BucketOwnerEnforced'))),
  analytics: null,
  inventory: null,
  metrics: null,
  'intelligent-tiering': null,
  metadataTable: null,
  metadataConfiguration: null,
  session: null,
  torrent: null,
}

const noObjectLock = (name: string): Operation => ({
  name, access: objectRead,
  run: () => Promise.reject(new S3Error('InvalidRequest', 400, 'Bucket is missing Object Lock Configuration')),
})

export const objectConfigurations: Readonly<Record<string, Operation | null>> = {
  tagging: {
    name: 'GetObjectTagging',
    access: objectRead,
    async run(call) {
      // An object without tags has an empty set of them; one that is not there has none.
      await headExisting(call)
      return xmlAnswer(s3Document('Tagging', parent('TagSet', '')))
    },
  },
  retention: noObjectLock('GetObjectRetention'),
  'legal-hold': noObjectLock('GetObjectLegalHold'),
  torrent: null,
  restore: null,
  select: null,
  renameObject: null,
}
