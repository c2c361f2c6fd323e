/** x-amz-copy-source: `/bucket/key` or `bucket/key`, percent-encoded, with `?versionId=` at most. */
import { invalidArgument, S3Error } from '../errors.ts'
import { decodePath } from './percent.ts'

export interface CopySourceName {
  bucket: string
  key: string
}

/** @throws S3Error InvalidArgument, NoSuchVersion */
export function parseCopySource(header: string): CopySourceName {
  const question = header.search(/\?versionId=/)
  const path = (question === -1 ? header : header.slice(0, question)).replace(/^\//, '')
  if (question !== -1) checkVersion(header.slice(question + '?versionId='.length))
  if (path.startsWith('arn:')) throw invalidArgument('Access points are not supported as a copy source', 'x-amz-copy-source', header)
  // Some clients encode the slash between bucket and key as well: so decode first, then cut.
  const decoded = decodePath(path)
  const slash = decoded.indexOf('/')
  if (slash < 1 || slash === decoded.length - 1) {
    throw invalidArgument('Copy Source must mention the source bucket and key: sourcebucket/sourcekey', 'x-amz-copy-source', header)
  }
  return { bucket: decoded.slice(0, slash), key: decoded.slice(slash + 1) }
}

/** Buckets have no versions yet: every object is version `null`. @throws S3Error NoSuchVersion, InvalidArgument */
export function checkVersion(versionId: string | undefined): void {
  if (versionId === undefined || versionId === 'null') return
  if (versionId === '') throw invalidArgument('Version id cannot be the empty string', 'versionId', versionId)
  throw new S3Error('NoSuchVersion', 404, 'The specified version does not exist.', { elements: [['VersionId', versionId]] })
}
