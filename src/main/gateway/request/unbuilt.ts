/** Headers that ask for what Anvil has not: refused, so that nobody believes it was done. */
import { notImplemented, S3Error } from '../errors.ts'
import type { RequestHeaders } from '../http/headers.ts'

/** ACLs that say what holds anyway: the bucket's tenant owns everything and grants go through policies. */
const harmlessAcls = new Set(['private', 'bucket-owner-full-control', 'bucket-owner-read'])

const unbuiltHeaders = [
  'x-amz-tagging', 'x-amz-object-lock-mode', 'x-amz-object-lock-retain-until-date', 'x-amz-object-lock-legal-hold', 'x-amz-write-offset-bytes',
] as const

/** @throws S3Error NotImplemented, AccessControlListNotSupported */
export function refuseUnbuilt(headers: RequestHeaders): void {
  refuseAcl(headers)
  for (const name of unbuiltHeaders) {
    const value = headers.get(name)
    if (value !== undefined && value !== '' && value !== 'OFF') throw notImplemented(name)
  }
  if (headers.get('x-amz-bucket-object-lock-enabled')?.toLowerCase() === 'true') throw notImplemented('x-amz-bucket-object-lock-enabled')
}

/** @throws S3Error AccessControlListNotSupported */
export function refuseAcl(headers: RequestHeaders): void {
  const acl = headers.get('x-amz-acl')
  const grants = [...headers.names()].some((name) => name.startsWith('x-amz-grant-'))
  if (grants || (acl !== undefined && !harmlessAcls.has(acl))) {
    throw new S3Error('AccessControlListNotSupported', 400, 'The bucket does not allow ACLs')
  }
}
