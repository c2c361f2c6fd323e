/** GetObject and HeadObject: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html */
import type { HeadRequest, HeadResult } from '../../objects/contract.ts'
import { MAX_PARTS } from '../../../shared/limits.ts'
import { invalidRequest } from '../errors.ts'
import { checksumHeaders } from '../request/checksum.ts'
import { parseReadConditions } from '../request/conditions.ts'
import { parseCustomerKey } from '../request/encryption.ts'
import { parsePartNumber, parseRange } from '../request/range.ts'
import { hidingMissing, recordHeaders } from './object-answer.ts'
import type { Call, Operation } from './operation.ts'

export const getObject: Operation = {
  name: 'GetObject',
  access: { kind: 'any', actions: ['object:read'], on: 'key' },
  public: true,
  async run(call) {
    const overrides = responseOverrides(call)
    const result = await call.store.getObject(readRequest(call)).catch(hidingMissing(call, call.bucket, call.key))
    return {
      status: result.partial ? 206 : 200,
      headers: replaced(resultHeaders(call, result), overrides),
      body: { kind: 'source', source: result.body, length: result.end - result.start },
    }
  },
}

export const headObject: Operation = {
  name: 'HeadObject',
  access: { kind: 'any', actions: ['object:read'], on: 'key' },
  public: true,
  async run(call) {
    const overrides = responseOverrides(call)
    const result = await call.store.headObject(readRequest(call)).catch(hidingMissing(call, call.bucket, call.key))
    return {
      status: result.partial ? 206 : 200,
      headers: replaced(resultHeaders(call, result), overrides),
      body: { kind: 'head', length: result.end - result.start },
    }
  },
}

function readRequest(call: Call): HeadRequest {
  const { headers, query } = call
  const partNumber = query.get('partNumber')
  const rangeHeader = headers.get('range')
  if (partNumber !== undefined && rangeHeader !== undefined) throw invalidRequest('Cannot specify both Range header and partNumber query parameter')
  return {
    bucket: call.bucket,
    key: call.key,
    conditions: parseReadConditions(headers),
    range: partNumber === undefined ? parseRange(rangeHeader) : { kind: 'part', partNumber: parsePartNumber(partNumber, MAX_PARTS) },
    readKey: parseCustomerKey(call.head),
    requestId: call.requestId,
  }
}

function resultHeaders(call: Call, { record, start, end, partial, partCount }: HeadResult): [string, string][] {
  const headers = recordHeaders(record)
  if (partial) headers.push(['Content-Range', `bytes ${start}-${end - 1}/${record.size}`])
  // The checksum is of the whole object: with a part of it a client would compare the wrong things.
  else if (call.headers.get('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') headers.push(...checksumHeaders(record.checksum))
  if (partCount !== null && call.query.has('partNumber')) headers.push(['x-amz-mp-parts-count', String(partCount)])
  return headers
}

const overridable: Record<string, string> = {
  'response-content-type': 'Content-Type',
  'response-content-language': 'Content-Language',
  'response-expires': 'Expires',
  'response-cache-control': 'Cache-Control',
  'response-content-disposition': 'Content-Disposition',
  'response-content-encoding': 'Content-Encoding',
}

/** @throws S3Error InvalidRequest: a stranger's link could otherwise make a public object look like something else */
function responseOverrides(call: Call): [string, string][] {
  const overrides = Object.entries(overridable).flatMap(([parameter, header]): [string, string][] => {
    const value = call.query.get(parameter)
    return value === undefined || value === '' ? [] : [[header, value]]
  })
  if (overrides.length > 0 && call.authentication.app === null) {
    throw invalidRequest('Request specific response headers cannot be used for anonymous GET requests.')
  }
  return overrides
}

const replaced = (headers: [string, string][], overrides: [string, string][]): [string, string][] =>
  overrides.length === 0 ? headers : [...headers.filter(([name]) => !overrides.some(([other]) => other === name)), ...overrides]
