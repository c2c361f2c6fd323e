/** CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation. */
import { authorize } from '../auth/authorize.ts'
import { accessDenied, malformedXml, notImplemented, S3Error } from '../errors.ts'
import { emptyAnswer, xmlAnswer } from '../http/answer.ts'
import { isBucketName } from '../request/bucket-name.ts'
import { refuseUnbuilt } from '../request/unbuilt.ts'
import { child, childText, parseXml } from '../xml/reader.ts'
import { escapeText, s3Document } from '../xml/writer.ts'
import type { Call, Operation } from './operation.ts'

/** A bucket that the caller owns already is an error, as everywhere on S3 but in us-east-1. */
export const createBucket: Operation = {
  name: 'CreateBucket',
  access: { kind: 'own' },
  withoutBucket: true,
  async run(call) {
    const app = call.app()
    if (!isBucketName(call.bucketName)) {
      throw new S3Error('InvalidBucketName', 400, 'The specified bucket is not valid.', { elements: [['BucketName', call.bucketName]] })
    }
    if (!authorize(app.grants, 'bucket:create', call.bucketName)) throw accessDenied()
    refuseUnbuilt(call.headers)
    const ownership = call.headers.get('x-amz-object-ownership')
    if (ownership !== undefined && ownership !== 'BucketOwnerEnforced') throw notImplemented(`x-amz-object-ownership: ${ownership}`)
    checkLocation(await call.readDocument(), call.region)
    await call.store.createBucket({ name: call.bucketName, tenantId: app.tenantId, region: call.region })
    return emptyAnswer(200, [['Location', `/${call.bucketName}`]])
  },
}

/** @throws S3Error MalformedXML, IllegalLocationConstraintException, NotImplemented */
function checkLocation(document: Buffer, region: string): void {
  if (document.length === 0) return
  const root = parseXml(document)
  if (root.name !== 'CreateBucketConfiguration') throw malformedXml()
  if ((child(root, 'Tags')?.children.length ?? 0) > 0) throw notImplemented('tags of buckets')
  if (child(root, 'Bucket') !== undefined || child(root, 'Location') !== undefined) throw notImplemented('directory buckets')
  const location = childText(root, 'LocationConstraint') ?? ''
  if (location === '' || location === region || (region === 'local' && location === 'us-east-1')) return
  throw new S3Error('IllegalLocationConstraintException', 400, `The ${location} location constraint is incompatible for the region specific endpoint this request was sent to.`)
}

export const headBucket: Operation = {
  name: 'HeadBucket',
  // Clients ask whether a bucket is there before they use it: whoever may list in it, may ask.
  access: { kind: 'any', actions: ['bucket:read', 'bucket:list', 'object:list'], on: 'prefix' },
  public: true,
  run: (call) => Promise.resolve(emptyAnswer(200, [['x-amz-bucket-region', call.bucket.region], ['x-amz-access-point-alias', 'false']])),
}

export const deleteBucket: Operation = {
  name: 'DeleteBucket',
  access: { kind: 'any', actions: ['bucket:delete'], on: 'bucket' },
  async run(call) {
    await call.store.deleteBucket(call.bucket)
    return emptyAnswer(204)
  },
}

export const getBucketLocation: Operation = {
  name: 'GetBucketLocation',
  anyRegion: true,
  access: { kind: 'any', actions: ['bucket:read', 'bucket:list', 'object:list'], on: 'prefix' },
  public: true,
  run: (call) => Promise.resolve(xmlAnswer(locationDocument(call))),
}

/** us-east-1 has no name here, as on S3. */
const locationDocument = (call: Call): string =>
  call.bucket.region === 'us-east-1' ? s3Document('LocationConstraint', '') : s3Document('LocationConstraint', escapeText(call.bucket.region))
