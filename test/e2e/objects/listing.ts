import assert from 'node:assert/strict'
import { it } from 'node:test'
import { DeleteObjectsCommand, ListObjectsCommand, ListObjectsV2Command, type ListObjectsV2CommandInput } from '@aws-sdk/client-s3'
import { signedRequest } from '../../support/raw-http.ts'
import { s3Path } from '../../support/sigv4.ts'
import { newBucket, type Context } from './context.ts'

const FOLDERS = 12
const PER_FOLDER = 100
const FLAT = 60

/** 1260 keys: twelve folders of a hundred, and sixty beside them. */
const KEYS = [
  ...Array.from({ length: FOLDERS }, (_entry, folder) => Array.from({ length: PER_FOLDER }, (_, i) => `folder${String(folder).padStart(2, '0')}/sub${i % 3}/${String(i).padStart(3, '0')}`)).flat(),
  ...Array.from({ length: FLAT }, (_, i) => `flat-${String(i).padStart(3, '0')}`),
].sort()

export function listingTests(context: Context): void {
  let bucket: Promise<string> | null = null
  const filled = (): Promise<string> => (bucket ??= fill(context))

  it('lists more than one page of keys in order', async () => {
    const Bucket = await filled()
    const first = await context.s3.send(new ListObjectsV2Command({ Bucket }))
    assert.equal(first.KeyCount, 1000)
    assert.equal(first.IsTruncated, true)
    assert.equal(first.MaxKeys, 1000)
    assert.deepEqual((await pages(context, { Bucket })).keys, KEYS)
  })

  for (const MaxKeys of [1, 7, 499, 1000]) {
    it(`pages with ${MaxKeys} keys lose and repeat nothing`, async () => {
      const Bucket = await filled()
      const input = { Bucket, MaxKeys, ...(MaxKeys === 1 ? { Prefix: 'folder03/sub1/' } : {}) }
      const wanted = MaxKeys === 1 ? KEYS.filter((key) => key.startsWith('folder03/sub1/')) : KEYS
      assert.deepEqual((await pages(context, input)).keys, wanted)
    })
  }

  it('folds by delimiter at each level', async () => {
    const Bucket = await filled()
    for (const MaxKeys of [3, 10, 1000]) {
      const top = await pages(context, { Bucket, Delimiter: '/', MaxKeys })
      assert.deepEqual(top.prefixes, Array.from({ length: FOLDERS }, (_, i) => `folder${String(i).padStart(2, '0')}/`))
      assert.deepEqual(top.keys, KEYS.filter((key) => key.startsWith('flat-')))
      const inner = await pages(context, { Bucket, Delimiter: '/', Prefix: 'folder05/', MaxKeys })
      assert.deepEqual(inner.prefixes, ['folder05/sub0/', 'folder05/sub1/', 'folder05/sub2/'])
      assert.deepEqual(inner.keys, [])
      const half = await pages(context, { Bucket, Delimiter: '/', Prefix: 'folder05', MaxKeys })
      assert.deepEqual(half.prefixes, ['folder05/'])
      const odd = await pages(context, { Bucket, Delimiter: '/sub', MaxKeys })
      assert.deepEqual(odd.prefixes, Array.from({ length: FOLDERS }, (_, i) => `folder${String(i).padStart(2, '0')}/sub`))
      const other = await pages(context, { Bucket, Delimiter: '-', MaxKeys })
      assert.deepEqual(other.prefixes, ['flat-'])
    }
  })

  it('starts after a key, a prefix and beyond the end', async () => {
    const Bucket = await filled()
    const { s3 } = context
    const from = async (StartAfter: string, more: object = {}) => s3.send(new ListObjectsV2Command({ Bucket, StartAfter, ...more }))
    assert.deepEqual((await from('flat-055')).Contents?.slice(0, 5).map((entry) => entry.Key), ['flat-056', 'flat-057', 'flat-058', 'flat-059', KEYS.find((key) => key.startsWith('folder'))])
    assert.equal((await from('folder11/sub2/zzz')).KeyCount, 0)
    // the folder of a StartAfter that is its last key is over; those behind it follow
    assert.deepEqual((await from('folder10/sub2/zzz', { Delimiter: '/' })).CommonPrefixes?.map((entry) => entry.Prefix), ['folder11/'])
    const none = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'nothing' }))
    assert.equal(none.KeyCount, 0)
    assert.equal(none.IsTruncated, false)
    const zero = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 0 }))
    assert.equal(zero.KeyCount, 0)
    assert.equal(zero.IsTruncated, false)
  })

  it('shows owner, size, ETag, date and class as asked', async () => {
    const Bucket = await filled()
    const { s3 } = context
    const plain = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1 }))
    const owned = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1, FetchOwner: true }))
    const [entry] = plain.Contents!
    assert.equal(entry?.Owner, undefined)
    assert.equal(entry?.Size, 1)
    assert.match(entry?.ETag ?? '', /^"[0-9a-f]{32}"$/)
    assert.equal(entry?.StorageClass, 'STANDARD')
    assert.ok(entry?.LastModified instanceof Date)
    assert.ok(owned.Contents?.[0]?.Owner?.ID)
  })

  it('pages through ListObjects (version 1) with its markers', async () => {
    const Bucket = await filled()
    const { s3 } = context
    const flat: string[] = []
    for (let Marker: string | undefined = ''; Marker !== undefined;) {
      const page: import('@aws-sdk/client-s3').ListObjectsCommandOutput = await s3.send(new ListObjectsCommand({ Bucket, Marker, MaxKeys: 333 }))
      flat.push(...(page.Contents ?? []).map((entry) => entry.Key!))
      Marker = page.IsTruncated ? (page.NextMarker ?? flat.at(-1)) : undefined
    }
    assert.deepEqual(flat, KEYS)
    const prefixes: string[] = []
    for (let Marker: string | undefined = ''; Marker !== undefined;) {
      const page: import('@aws-sdk/client-s3').ListObjectsCommandOutput = await s3.send(new ListObjectsCommand({ Bucket, Marker, MaxKeys: 5, Prefix: 'folder', Delimiter: '/' }))
      prefixes.push(...(page.CommonPrefixes ?? []).map((entry) => entry.Prefix!))
      if (page.IsTruncated) assert.ok(page.NextMarker !== undefined, 'a truncated page with a delimiter has a NextMarker')
      Marker = page.IsTruncated ? page.NextMarker : undefined
    }
    assert.equal(prefixes.length, FOLDERS)
    assert.equal(new Set(prefixes).size, FOLDERS)
  })

  it('refuses nonsense', async () => {
    const Bucket = await filled()
    const { node } = context
    for (const query of [{ 'max-keys': 'many' }, { 'max-keys': '-1' }, { 'encoding-type': 'gzip' }, { 'list-type': '2', 'continuation-token': 'never given' }]) {
      const answer = await signedRequest(node.port, node.credentials, { method: 'GET', path: s3Path(Bucket), query: query as unknown as Record<string, string> })
      assert.equal(answer.status, 400, JSON.stringify(query))
      assert.equal(answer.code, 'InvalidArgument')
    }
  })

  it('deletes a thousand at once', async () => {
    const Bucket = await fill(context)
    const answer = await context.s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: KEYS.slice(0, 1000).map((Key) => ({ Key })) } }))
    assert.equal(answer.Deleted?.length, 1000)
    assert.deepEqual((await pages(context, { Bucket })).keys, KEYS.slice(1000))
  })
}

async function fill(context: Context): Promise<string> {
  const Bucket = await newBucket(context)
  const { node } = context
  const waiting = [...KEYS]
  await Promise.all(Array.from({ length: 32 }, async () => {
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
      const answer = await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, key), body: Buffer.from('x') })
      assert.equal(answer.status, 200, answer.text)
    }
  }))
  return Bucket
}

/** All pages of a listing. */
async function pages({ s3 }: Context, input: ListObjectsV2CommandInput): Promise<{ keys: string[]; prefixes: string[] }> {
  const keys: string[] = []
  const prefixes: string[] = []
  let token: string | undefined
  do {
    const page = await s3.send(new ListObjectsV2Command({ ...input, ...(token === undefined ? {} : { ContinuationToken: token }) }))
    const count = (page.Contents?.length ?? 0) + (page.CommonPrefixes?.length ?? 0)
    assert.equal(page.KeyCount, count)
    assert.ok(count <= (input.MaxKeys ?? 1000))
    keys.push(...(page.Contents ?? []).map((entry) => entry.Key!))
    prefixes.push(...(page.CommonPrefixes ?? []).map((entry) => entry.Prefix!))
    assert.equal(page.IsTruncated, page.NextContinuationToken !== undefined)
    token = page.NextContinuationToken
  } while (token !== undefined)
  return { keys, prefixes }
}
