/** What an operation answers, before it is put on the wire. */
import type { BodySource } from '../../objects/contract.ts'

export type AnswerBody =
  /** No body and no Content-Length beyond what the status needs. */
  | { kind: 'none' }
  | { kind: 'text'; text: string; contentType: string }
  /** HEAD: the length that a GET would have. */
  | { kind: 'head'; length: number }
  /** Exactly `length` bytes of a source, which the connection closes at the end. */
  | { kind: 'source'; source: BodySource; length: number }
  /**
   * The document is not known yet: `opening` goes out at once, then white space every few seconds so that nobody on the
   * way cuts the connection, then the document (S3's CompleteMultipartUpload and copies). Never rejects.
   */
  | { kind: 'late'; opening: string; rest: Promise<string>; contentType: string }

export interface Answer {
  status: number
  headers: [name: string, value: string][]
  body: AnswerBody
  /** Close the connection after it. */
  close?: boolean
}

export const XML_TYPE = 'application/xml'

export const emptyAnswer = (status: number, headers: Answer['headers'] = []): Answer => ({ status, headers, body: { kind: 'none' } })

export const xmlAnswer = (text: string, headers: Answer['headers'] = [], status = 200): Answer => ({
  status, headers, body: { kind: 'text', text, contentType: XML_TYPE },
})

export const jsonAnswer = (value: unknown, status: number): Answer => ({
  status,
  headers: [['Cache-Control', 'no-store']],
  body: { kind: 'text', text: `${JSON.stringify(value)}\n`, contentType: 'application/json' },
})

/** Frees what an answer that will not be sent holds. */
export function discardAnswer(answer: Answer): void {
  if (answer.body.kind === 'source') answer.body.source.close()
}

const reasons: Record<number, string> = {
  200: 'OK', 204: 'No Content', 206: 'Partial Content', 301: 'Moved Permanently', 304: 'Not Modified', 307: 'Temporary Redirect',
  400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed', 409: 'Conflict', 411: 'Length Required',
  412: 'Precondition Failed', 413: 'Content Too Large', 416: 'Requested Range Not Satisfiable', 500: 'Internal Server Error',
  501: 'Not Implemented', 503: 'Service Unavailable', 507: 'Insufficient Storage',
}

export const statusLine = (status: number): string => `${status} ${reasons[status] ?? 'Unknown'}`
