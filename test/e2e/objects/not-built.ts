import assert from 'node:assert/strict'
import { it } from 'node:test'
import { signedRequest } from '../../support/raw-http.ts'
import { s3Path } from '../../support/sigv4.ts'
import { newBucket, type Context } from './context.ts'

const BUCKET_FEATURES = [
  'accelerate', 'acl', 'analytics', 'cors', 'intelligent-tiering', 'inventory', 'lifecycle', 'logging', 'metrics', 'notification', 'object-lock',
  'ownershipControls', 'policy', 'policyStatus', 'publicAccessBlock', 'replication', 'requestPayment', 'tagging', 'versioning', 'website',
]
const OBJECT_FEATURES = ['acl', 'legal-hold', 'retention', 'tagging', 'torrent']

export function notBuiltTests(context: Context): void {
  it('answers 501 in XML for what is asked to be set, and never a silent success', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const key = s3Path(Bucket, 'k')
    await signedRequest(node.port, node.credentials, { method: 'PUT', path: key, body: Buffer.from('x') })
    const body = Buffer.from('<Configuration/>')
    const asked: [string, string, Record<string, string>][] = [
      ...BUCKET_FEATURES.filter((feature) => feature !== 'policyStatus').map((feature): [string, string, Record<string, string>] => ['PUT', s3Path(Bucket), { [feature]: '' }]),
      ...OBJECT_FEATURES.filter((feature) => feature !== 'torrent').map((feature): [string, string, Record<string, string>] => ['PUT', key, { [feature]: '' }]),
      ['POST', key, { restore: '' }], ['POST', key, { select: '', 'select-type': '2' }],
    ]
    for (const [method, path, query] of asked) {
      const answer = await signedRequest(node.port, node.credentials, { method, path, query, body })
      assert.equal(answer.status, 501, `${method} ${path} ${JSON.stringify(query)}: ${answer.status} ${answer.text}`)
      assert.equal(answer.code, 'NotImplemented')
    }
    const kept = await signedRequest(node.port, node.credentials, { method: 'GET', path: key })
    assert.equal(kept.text, 'x')
  })

  it('answers 501, or what S3 says where nothing is set, for what is asked to be read', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const ask = async (feature: string) => signedRequest(node.port, node.credentials, { method: 'GET', path: s3Path(Bucket), query: { [feature]: '' } })
    for (const feature of BUCKET_FEATURES) {
      const { status, text } = await ask(feature)
      assert.ok([200, 404, 501].includes(status), `${feature}: ${status}`)
      // never the list of the bucket's objects
      assert.ok(!text.includes('ListBucketResult'), feature)
    }
  })

  it('answers 501 for headers that ask for what is not built', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    for (const headers of [
      { 'x-amz-tagging': 'a=b' }, { 'x-amz-object-lock-mode': 'GOVERNANCE', 'x-amz-object-lock-retain-until-date': '2030-01-01T00:00:00Z' },
      { 'x-amz-object-lock-legal-hold': 'ON' }, { 'x-amz-server-side-encryption': 'aws:kms' },
    ]) {
      const answer = await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), headers: headers as unknown as Record<string, string>, body: Buffer.from('x') })
      assert.equal(answer.status, 501, `${JSON.stringify(headers)}: ${answer.status} ${answer.text}`)
    }
    assert.equal((await signedRequest(node.port, node.credentials, { method: 'HEAD', path: s3Path(Bucket, 'k') })).status, 404)
  })
}
