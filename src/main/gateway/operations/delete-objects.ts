/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html */
import { MAX_DELETE_KEYS, MAX_KEY_BYTES } from '../../../shared/limits.ts'
import { accessDenied, malformedXml, notImplemented, type S3Error, toS3Error } from '../errors.ts'
import { xmlAnswer } from '../http/answer.ts'
import { unquote } from '../request/conditions.ts'
import { checkVersion } from '../request/copy-source.ts'
import { child, childText, parseXml, type XmlElement } from '../xml/reader.ts'
import { element, parent, s3Document } from '../xml/writer.ts'
import type { Call, Operation } from './operation.ts'

interface Wanted {
  key: string
  ifMatch?: string
  /** Why it is not even tried. */
  refusal: S3Error | null
}

export const deleteObjects: Operation = {
  name: 'DeleteObjects',
  access: { kind: 'own' },
  async run(call) {
    call.app()
    const { quiet, wanted } = parseDelete(await call.readDocument({ digestRequired: true }), call)
    const tried = wanted.filter((item) => item.refusal === null)
    const results = tried.length === 0
      ? []
      : await call.store.deleteObjects(call.bucket.id, tried.map(({ key, ifMatch }) => (ifMatch === undefined ? { key } : { key, ifMatch })))
    const errors = new Map<Wanted, S3Error>()
    for (const [index, item] of tried.entries()) {
      const result = results[index]
      if (result !== undefined && 'error' in result) errors.set(item, call.lateError(result.error))
    }
    return xmlAnswer(s3Document('DeleteResult', wanted.map((item) => {
      const error = item.refusal ?? errors.get(item) ?? null
      if (error === null) return quiet ? '' : parent('Deleted', element('Key', item.key))
      return parent('Error', element('Key', item.key) + element('Code', error.code) + element('Message', error.message))
    }).join('')))
  },
}

/** @throws S3Error MalformedXML */
function parseDelete(document: Buffer, call: Call): { quiet: boolean; wanted: Wanted[] } {
  const root = parseXml(document)
  if (root.name !== 'Delete') throw malformedXml()
  const objects = root.children.filter((item) => item.name === 'Object')
  if (objects.length === 0 || objects.length > MAX_DELETE_KEYS) throw malformedXml()
  return { quiet: childText(root, 'Quiet')?.toLowerCase() === 'true', wanted: objects.map((object) => parseObject(object, call)) }
}

function parseObject(object: XmlElement, call: Call): Wanted {
  const key = childText(object, 'Key', true)
  if (key === undefined || key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES) throw malformedXml()
  const etag = childText(object, 'ETag')
  const wanted: Wanted = { key, refusal: null }
  if (etag !== undefined && etag !== '') wanted.ifMatch = unquote(etag)
  try {
    checkVersion(childText(object, 'VersionId') || undefined)
    if (child(object, 'LastModifiedTime') ?? child(object, 'Size')) throw notImplemented('conditions on time or size in DeleteObjects')
    if (!call.allows('object:delete', call.bucket, key)) throw accessDenied()
  } catch (error) {
    wanted.refusal = toS3Error(error)
  }
  return wanted
}
