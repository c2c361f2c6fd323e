/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html */
import type { App, Bucket } from '../../directory/contract.ts'
import { authorize, authorizedSomewhere } from '../auth/authorize.ts'
import { ownerId } from '../call.ts'
import { accessDenied, invalidArgument } from '../errors.ts'
import { xmlAnswer } from '../http/answer.ts'
import { element, isoSeconds, parent, s3Document } from '../xml/writer.ts'
import { decodeToken, encodeToken } from './continuation-token.ts'
import type { Call, Operation } from './operation.ts'

const MAX_BUCKETS = 10_000
/** Rows asked of the directory at a time. */
const PAGE = 1000

/** Shows the tenant's buckets on which the caller has bucket:list or bucket:read. */
export const listBuckets: Operation = {
  name: 'ListBuckets',
  access: { kind: 'own' },
  withoutBucket: true,
  async run(call) {
    const app = call.app()
    if (!authorizedSomewhere(app.grants, 'bucket:list') && !authorizedSomewhere(app.grants, 'bucket:read')) throw accessDenied()
    const prefix = call.query.get('prefix') ?? ''
    const scope = `buckets ${app.tenantId} ${prefix}`
    const token = call.query.get('continuation-token')
    const limit = maxBuckets(call)
    const visible = await visibleBuckets(call, app, prefix, token === undefined ? '' : decodeToken(token, scope), limit)
    const page = visible.slice(0, limit)
    const next = visible.length > limit ? encodeToken(page.at(-1)!.name, scope) : null
    return xmlAnswer(s3Document('ListAllMyBucketsResult',
      parent('Owner', element('ID', ownerId(app.tenantId)) + element('DisplayName', `tenant-${app.tenantId}`)) +
      parent('Buckets', page.map(bucketXml).join('')) + element('ContinuationToken', next) + (prefix === '' ? '' : element('Prefix', prefix))))
  },
}

function maxBuckets(call: Call): number {
  const limit = call.query.count('max-buckets', MAX_BUCKETS)
  if (limit === 0) throw invalidArgument(`Argument max-buckets must be an integer between 1 and ${MAX_BUCKETS}`, 'max-buckets', '0')
  return limit
}

/** One more than `limit` when there are more. */
async function visibleBuckets(call: Call, app: App, prefix: string, after: string, limit: number): Promise<Bucket[]> {
  const region = call.query.get('bucket-region')
  const visible: Bucket[] = []
  for (let from = after; visible.length <= limit;) {
    const page = await call.directory.listBuckets(app.tenantId, { prefix, after: from, limit: PAGE })
    for (const bucket of page) {
      const allowed = authorize(app.grants, 'bucket:list', bucket.name) || authorize(app.grants, 'bucket:read', bucket.name)
      if (allowed && (region === undefined || region === bucket.region)) visible.push(bucket)
    }
    if (page.length < PAGE) break
    from = page.at(-1)!.name
  }
  return visible.slice(0, limit + 1)
}

const bucketXml = (bucket: Bucket): string =>
  parent('Bucket', element('Name', bucket.name) + element('CreationDate', isoSeconds(bucket.createdMs)) + element('BucketRegion', bucket.region))
