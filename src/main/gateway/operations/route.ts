/** Which operation a request is: by method, what it addresses, and the sub-resources of its query. */
import { invalidArgument, notImplemented, S3Error } from '../errors.ts'
import type { RequestHeaders } from '../http/headers.ts'
import type { Address } from '../request/address.ts'
import { checkVersion } from '../request/copy-source.ts'
import type { Query } from '../request/query.ts'
import { getAcl } from './acl.ts'
import { createBucket, deleteBucket, getBucketLocation, headBucket } from './buckets.ts'
import { bucketConfigurations, objectConfigurations } from './configurations.ts'
import { copyObject } from './copy-object.ts'
import { abortUpload, completeUpload, createUpload, listParts, listUploads, uploadPart, uploadPartCopy } from './multipart.ts'
import { deleteBucketEncryption, getBucketEncryption, putBucketEncryption } from './bucket-encryption.ts'
import { deleteObject } from './delete-object.ts'
import { deleteObjects } from './delete-objects.ts'
import { getObject, headObject } from './get-object.ts'
import { getObjectAttributes } from './object-attributes.ts'
import { listBuckets } from './list-buckets.ts'
import { listObjects, listObjectsV2 } from './list-objects.ts'
import { listObjectVersions } from './list-versions.ts'
import type { Operation } from './operation.ts'
import { putObject } from './put-object.ts'

/** @throws S3Error MethodNotAllowed, NotImplemented, InvalidArgument, NoSuchVersion */
export function route(method: string, { bucket, key }: Address, query: Query, headers: RequestHeaders): Operation {
  if (bucket === '') {
    if (key !== '') throw new S3Error('InvalidBucketName', 400, 'The specified bucket is not valid.', { elements: [['BucketName', '']] })
    if (method === 'GET') return listBuckets
    throw methodNotAllowed(method, 'SERVICE')
  }
  if (key === '') return routeBucket(method, query)
  checkVersion(query.get('versionId'))
  return routeObject(method, query, headers)
}

function routeBucket(method: string, query: Query): Operation {
  switch (method) {
    case 'GET':
      if (query.has('location')) return getBucketLocation
      if (query.has('uploads')) return listUploads
      if (query.has('versions')) return listObjectVersions
      if (query.has('encryption')) return getBucketEncryption
      if (query.has('acl')) return getAcl
      return configuration(bucketConfigurations, query, method) ?? (query.get('list-type') === '2' ? listObjectsV2 : listObjects)
    case 'PUT':
      if (query.has('encryption')) return putBucketEncryption
      refuseConfiguration(bucketConfigurations, query, method)
      return createBucket
    case 'DELETE':
      if (query.has('encryption')) return deleteBucketEncryption
      refuseConfiguration(bucketConfigurations, query, method)
      return deleteBucket
    case 'HEAD':
      return headBucket
    case 'POST':
      if (query.has('delete')) return deleteObjects
      throw notImplemented('uploads of HTML forms (POST Object)')
    default:
      throw methodNotAllowed(method, 'BUCKET')
  }
}

function routeObject(method: string, query: Query, headers: RequestHeaders): Operation {
  switch (method) {
    case 'GET':
      if (query.has('uploadId')) return listParts
      if (query.has('attributes')) return getObjectAttributes
      if (query.has('acl')) return getAcl
      return configuration(objectConfigurations, query, method) ?? getObject
    case 'HEAD':
      return headObject
    case 'PUT':
      if (query.has('uploadId') || query.has('partNumber')) {
        if (!query.has('uploadId') || !query.has('partNumber')) {
          throw invalidArgument('This operation needs both uploadId and partNumber', query.has('uploadId') ? 'partNumber' : 'uploadId', '')
        }
        return headers.has('x-amz-copy-source') ? uploadPartCopy : uploadPart
      }
      refuseConfiguration(objectConfigurations, query, method)
      return headers.has('x-amz-copy-source') ? copyObject : putObject
    case 'POST':
      if (query.has('uploads')) return createUpload
      if (query.has('uploadId')) return completeUpload
      refuseConfiguration(objectConfigurations, query, method)
      throw methodNotAllowed(method, 'OBJECT')
    case 'DELETE':
      if (query.has('uploadId')) return abortUpload
      refuseConfiguration(objectConfigurations, query, method)
      return deleteObject
    default:
      throw methodNotAllowed(method, 'OBJECT')
  }
}

/** null in the table: S3 has such a thing, Anvil has not. */
type Configurations = Readonly<Record<string, Operation | null>>

function configuration(table: Configurations, query: Query, method: string): Operation | null {
  for (const name of Object.keys(table)) {
    if (!query.has(name)) continue
    const operation = table[name]
    if (operation === null || operation === undefined) throw notImplemented(`${method} ?${name}`)
    return operation
  }
  return null
}

/** ACLs are among them: there is exactly one that an object can have. @throws S3Error NotImplemented */
function refuseConfiguration(table: Configurations, query: Query, method: string): void {
  for (const name of [...Object.keys(table), 'acl', 'versions', 'attributes', 'location']) {
    if (query.has(name)) throw notImplemented(`${method} ?${name}`)
  }
}

const methodNotAllowed = (method: string, resourceType: string): S3Error =>
  new S3Error('MethodNotAllowed', 405, 'The specified method is not allowed against this resource.', {
    elements: [['Method', method], ['ResourceType', resourceType]],
  })
