/** An error as S3 answers it. */
import type { S3Error } from './errors.ts'
import { type Answer, XML_TYPE } from './http/answer.ts'
import { element, XML_DECLARATION } from './xml/writer.ts'

export interface ErrorContext {
  /** Path of what was asked for, as S3 names it: /bucket/key. */
  resource: string
  requestId: string
  hostId: string
}

export const errorDocument = (error: S3Error, { resource, requestId, hostId }: ErrorContext): string =>
  `${XML_DECLARATION}${errorElement(error, { resource, requestId, hostId })}`

export const errorElement = (error: S3Error, { resource, requestId, hostId }: ErrorContext): string =>
  `<Error>${element('Code', error.code)}${element('Message', error.message)}${
    error.elements.map(([name, value]) => element(name, value)).join('')
  }${element('Resource', resource)}${element('RequestId', requestId)}${element('HostId', hostId)}</Error>`

export function errorAnswer(error: S3Error, context: ErrorContext): Answer {
  const headers: [string, string][] = error.headers.map(([name, value]) => [name, value])
  // 304 has no body; that of a HEAD is left away by the connection.
  const body: Answer['body'] = error.status === 304
    ? { kind: 'none' }
    : { kind: 'text', text: errorDocument(error, context), contentType: XML_TYPE }
  return { status: error.status, headers, body, ...(error.close ? { close: true } : {}) }
}
