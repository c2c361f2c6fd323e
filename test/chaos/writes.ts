/** The changes that clients make, each with its place in the key's history. */
import { md5Base64 } from '../support/bytes.ts'
import type { Answer } from './client.ts'
import { BUCKET, type CheckedStore } from './checked.ts'
import { ABSENT, type Write } from './history.ts'
import { bodyOf, headersOf, partsOf, type Value } from './values.ts'

export type Condition = 'absent' | Value

/** Outcomes that say that nothing was changed. */
const CONDITION_FAILED = ['412 PreconditionFailed', '409 ConditionalRequestConflict', '404 NoSuchKey']

export async function put(store: CheckedStore, node: number, value: Value, condition?: Condition): Promise<void> {
  const history = store.history(value.key)
  const kind = condition === undefined ? 'PUT' : condition === 'absent' ? 'PUT if absent' : 'PUT if match'
  const write = history.write(value.id, `${kind} value ${value.id} through node ${node}`)
  const headers = { ...headersOf(value), ...conditionHeader(condition) }
  const answer = await store.ask(node, kind, { method: 'PUT', path: store.object(value.key), headers, body: bodyOf(value) }, condition === undefined ? [] : CONDITION_FAILED)
  settle(store, value.key, write, answer)
  if (answer.status !== 200 || condition === undefined) return
  // what it says of the value before
  history.read({ value: condition === 'absent' ? ABSENT : condition.id, what: `condition of value ${value.id}`, beganMs: write.beganMs, endedMs: answer.endedMs })
}

export async function remove(store: CheckedStore, node: number, keys: readonly string[]): Promise<void> {
  if (keys.length === 1) {
    const write = store.history(keys[0]!).write(ABSENT, `DELETE through node ${node}`)
    return settle(store, keys[0]!, write, await store.ask(node, 'DELETE', { method: 'DELETE', path: store.object(keys[0]!) }))
  }
  const writes = keys.map((key) => ({ key, write: store.history(key).write(ABSENT, `DeleteObjects through node ${node}`) }))
  const body = Buffer.from(`<Delete>${keys.map((key) => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>`)
  const answer = await store.ask(node, 'DeleteObjects', { method: 'POST', path: `/${BUCKET}`, query: { delete: '' }, headers: { 'content-md5': md5Base64(body) }, body })
  if (answer.status !== 200 || !answer.whole) return
  const text = answer.body.toString()
  for (const { key, write } of writes) if (text.includes(`<Deleted><Key>${key}</Key>`)) store.history(key).acknowledged(write)
}

/** A copy of what the source holds for sure, or nothing: it is copied only if it has that ETag. */
export async function copy(store: CheckedStore, node: number, source: Value, key: string): Promise<void> {
  if (source.etag === null) return
  const value = store.values.copy(key, source)
  const write = store.history(key).write(value.id, `copy of ${source.key} as value ${value.id} through node ${node}`)
  const headers = {
    ...headersOf(value), 'x-amz-copy-source': `${BUCKET}/${source.key}`, 'x-amz-metadata-directive': 'REPLACE', 'x-amz-copy-source-if-match': `"${source.etag}"`,
  }
  const answer = await store.ask(node, 'copy', { method: 'PUT', path: store.object(key), headers }, CONDITION_FAILED)
  // a copy may be answered 200 before it is made, with the failure in the body
  const etag = /<ETag>(?:&quot;|")?([^<&"]+)/.exec(answer.body.toString())?.[1]
  if (answer.status === 200 && etag === undefined) return
  settle(store, key, write, answer)
  if (answer.status !== 200) return
  value.etag ??= etag!
  store.history(source.key).read({ value: source.id, what: `source of value ${value.id}`, beganMs: write.beganMs, endedMs: answer.endedMs })
}

export async function multipart(store: CheckedStore, node: number, other: number, value: Value, how: 'complete' | 'abort' | 'leave'): Promise<void> {
  const path = store.object(value.key)
  const created = await store.ask(node, 'CreateMultipartUpload', { method: 'POST', path, query: { uploads: '' }, headers: headersOf(value) })
  const uploadId = /<UploadId>([^<]+)/.exec(created.body.toString())?.[1]
  if (created.status !== 200 || uploadId === undefined) return
  const etags: string[] = []
  for (const [i, part] of partsOf(bodyOf(value)).entries()) {
    const upload = (through: number): Promise<Answer> =>
      store.ask(through, 'UploadPart', { method: 'PUT', path, query: { partNumber: String(i + 1), uploadId }, body: part })
    let answer = await upload(i % 2 === 0 ? node : other)
    if (answer.status !== 200) answer = await upload(other)
    if (answer.status !== 200) return
    etags.push(answer.headers.etag!)
  }
  if (how === 'leave') return
  if (how === 'abort') return void (await store.ask(other, 'AbortMultipartUpload', { method: 'DELETE', path, query: { uploadId } }, ['404 NoSuchUpload']))
  const write = store.history(value.key).write(value.id, `CompleteMultipartUpload of value ${value.id} through nodes ${node} and ${other}`)
  const parts = etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`).join('')
  const body = Buffer.from(`<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>`)
  // told again, it answers what it answered before
  for (const through of [node, other]) {
    const answer = await store.ask(through, 'CompleteMultipartUpload', { method: 'POST', path, query: { uploadId }, body })
    if (answer.status === 200 && answer.whole && answer.body.includes('<ETag>')) return store.history(value.key).acknowledged(write)
  }
}

function conditionHeader(condition: Condition | undefined): Record<string, string> {
  if (condition === undefined) return {}
  return condition === 'absent' ? { 'if-none-match': '*' } : { 'if-match': `"${condition.etag}"` }
}

function settle(store: CheckedStore, key: string, write: Write, answer: Answer): void {
  const { status } = answer
  if (status === 200 || status === 204) store.history(key).acknowledged(write)
  else if (status >= 400 && status < 500) store.history(key).refused(write)
}
