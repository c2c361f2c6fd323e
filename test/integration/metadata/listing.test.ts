import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { ListEntry } from '../../../src/main/metadata/contract.ts'
import { compareKeys, successor } from '../../../src/main/metadata/keys.ts'
import { newUploadId, type BucketId } from '../../../src/shared/ids.ts'
import { inlineRecord, startMetadata, type TestMetadata } from '../../support/metadata.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

/** Letters that meet every border: NUL's neighbour, the delimiter and its neighbours, UTF-8 lengths, surrogates, the last. */
const letters = ['\u0001', ' ', '.', '/', '0', 'a', 'b', '\u007f', '\u0080', 'é', '\u07ff', '\u0800', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{1F600}', '\u{10ffff}']
const text = (minLength: number, maxLength: number) => fc.array(fc.constantFrom(...letters), { minLength, maxLength }).map((parts) => parts.join(''))
const key = fc.oneof(text(1, 6), fc.array(fc.constantFrom('a', 'b', '/', 'ab', '//'), { minLength: 1, maxLength: 6 }).map((parts) => parts.join('')))
const delimiter = fc.oneof(fc.constant('/'), fc.constant(''), fc.constant('ab'), text(1, 2))

/** What a listing is, said plainly. */
function modelOf(keys: string[], { prefix, delimiter, after, limit }: { prefix: string; delimiter: string; after: string; limit: number }) {
  const entries = new Set<string>()
  for (const key of keys) {
    if (!key.startsWith(prefix)) continue
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    entries.add(at < 0 ? `o${key}` : `p${key.slice(0, at + delimiter.length)}`)
  }
  const all = [...entries].filter((entry) => after === '' || compareKeys(entry.slice(1), after) > 0).sort((a, b) => compareKeys(a.slice(1), b.slice(1)))
  return { entries: all.slice(0, limit), truncated: limit > 0 && all.length > limit }
}

const nameOf = (entry: ListEntry): string => (entry.kind === 'object' ? `o${entry.key}` : `p${entry.prefix}`)

async function fill(keys: string[]): Promise<BucketId> {
  const bucket = await t.bucket()
  await Promise.all(keys.map((each) => t.metadata.put(inlineRecord(bucket, each), {}, [])))
  return bucket
}

test('successor: the least text above every text with a prefix', () => {
  assert.equal(successor('a'), 'b')
  assert.equal(successor('a\u{10ffff}'), 'b')
  assert.equal(successor('\u{10ffff}'), null)
  assert.equal(successor(''), null)
  assert.equal(successor('\ud7ff'), '\ue000')
  assert.equal(successor('\uffff'), '\u{10000}')
  fc.assert(
    fc.property(text(1, 4), text(0, 4), text(1, 4), (prefix, rest, other) => {
      const above = successor(prefix)
      if (above === null) return
      assert.ok(compareKeys(prefix + rest, above) < 0)
      if (!other.startsWith(prefix) && compareKeys(other, prefix) > 0) assert.ok(compareKeys(other, above) >= 0)
    }),
  )
})

test('a listing is what the model says, page by page', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(key, { minLength: 0, maxLength: 60 }),
      fc.array(fc.record({ prefix: fc.oneof(fc.constant(''), text(0, 2), fc.constantFrom('a', 'a/', '/')), delimiter, after: fc.oneof(fc.constant(''), key, text(0, 3)), limit: fc.integer({ min: 0, max: 8 }) }), { minLength: 12, maxLength: 12 }),
      async (keys, questions) => {
        const bucket = await fill(keys)
        await Promise.all(
          questions.map(async (question) => {
            const page = await t.metadata.list({ bucketId: bucket, ...question })
            assert.deepEqual({ entries: page.entries.map(nameOf), truncated: page.truncated }, modelOf(keys, question), JSON.stringify(question))
            // Going on after the last entry of each page gives all of it.
            const limit = question.limit + 1
            const all: string[] = []
            for (let after = question.after; ; ) {
              const next = await t.metadata.list({ bucketId: bucket, ...question, after, limit })
              all.push(...next.entries.map(nameOf))
              if (!next.truncated) break
              after = all.at(-1)!.slice(1)
            }
            assert.deepEqual(all, modelOf(keys, { ...question, limit: Infinity }).entries)
          }),
        )
      },
    ),
    { numRuns: 40 },
  )
})

test('long listings: flat pages, many prefixes, and both by turns', async () => {
  const keys = [
    ...Array.from({ length: 700 }, (_, i) => `flat${String(i).padStart(4, '0')}`),
    ...Array.from({ length: 1500 }, (_, i) => `many/${String(i >> 1).padStart(4, '0')}/${i}`),
    ...Array.from({ length: 3000 }, (_, i) => (i % 100 === 0 ? `mixed/${String(i).padStart(5, '0')}` : `mixed/${String(i - (i % 100)).padStart(5, '0')}d/${i}`)),
    ...Array.from({ length: 1200 }, (_, i) => `one/prefix/${i}`),
  ]
  const bucket = await fill(keys)
  for (const prefix of ['', 'flat', 'many/', 'mixed/', 'one/', 'm', 'zzz']) {
    for (const delimiter of ['/', '', '0']) {
      for (const limit of [1, 7, 1000]) {
        const page = await t.metadata.list({ bucketId: bucket, prefix, delimiter, after: '', limit })
        assert.deepEqual({ entries: page.entries.map(nameOf), truncated: page.truncated }, modelOf(keys, { prefix, delimiter, after: '', limit }), `${prefix} ${delimiter} ${limit}`)
      }
    }
  }
})

test('odd questions', async () => {
  const bucket = await fill(['a', 'a/b', 'b'])
  const list = async (question: object) => (await t.metadata.list({ bucketId: bucket, prefix: '', delimiter: '', after: '', limit: 10, ...question })).entries.map(nameOf)
  assert.deepEqual(await list({ prefix: 'a\0' }), [])
  assert.deepEqual(await list({ delimiter: '\0' }), ['oa', 'oa/b', 'ob'])
  assert.deepEqual(await list({ after: 'a\0b' }), ['oa/b', 'ob'])
  assert.deepEqual(await list({ after: 'a/', delimiter: '/' }), ['ob'])
  await assert.rejects(list({ prefix: '\ud800' }), { kind: 'InvalidArgument' })
})

test('running uploads are listed by key and age, folded and paged', async () => {
  const upload = (bucketId: BucketId, key: string, uploadId = newUploadId()) => ({
    bucketId, uploadId, key, initiator: 'app', startedMs: Date.now(), storageClass: 'STANDARD', headers: {}, userMetadata: {},
    checksumAlgorithm: null, checksumType: null, encryption: { kind: 'none' as const },
  })
  await fc.assert(
    fc.asyncProperty(fc.array(key, { maxLength: 25 }), fc.constantFrom('', 'a', 'a/'), fc.constantFrom('', '/', 'ab'), fc.integer({ min: 1, max: 6 }), async (keys, prefix, delimiter, limit) => {
      const bucket = await t.bucket()
      const uploads = keys.map((each, i) => upload(bucket, each, newUploadId(1_700_000_000_000 + i)))
      await Promise.all(uploads.map((each) => t.metadata.createUpload(each)))
      const expected = new Set<string>()
      const sorted = uploads.toSorted((a, b) => compareKeys(a.key, b.key) || compareKeys(a.uploadId, b.uploadId))
      for (const each of sorted) {
        if (!each.key.startsWith(prefix)) continue
        const at = delimiter === '' ? -1 : each.key.indexOf(delimiter, prefix.length)
        expected.add(at < 0 ? `u${each.key} ${each.uploadId}` : `p${each.key.slice(0, at + delimiter.length)}`)
      }
      const found: string[] = []
      for (let keyAfter = '', uploadIdAfter = ''; ; ) {
        const page = await t.metadata.listUploads({ bucketId: bucket, prefix, delimiter, keyAfter, uploadIdAfter, limit })
        assert.ok(page.uploads.length + page.prefixes.length <= limit)
        found.push(...page.uploads.map((each) => `u${each.key} ${each.uploadId}`), ...page.prefixes.map((each) => `p${each}`))
        if (!page.truncated) break
        const lastUpload = page.uploads.at(-1)
        const lastPrefix = page.prefixes.at(-1)
        if (lastUpload !== undefined && (lastPrefix === undefined || compareKeys(lastUpload.key, lastPrefix) > 0)) {
          keyAfter = lastUpload.key
          uploadIdAfter = lastUpload.uploadId
        } else {
          keyAfter = lastPrefix!
          uploadIdAfter = ''
        }
      }
      assert.deepEqual(found.toSorted(), [...expected].toSorted())
    }),
    { numRuns: 25 },
  )
})
