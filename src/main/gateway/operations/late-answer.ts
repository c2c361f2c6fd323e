/**
 * Operations that may take minutes (copies, CompleteMultipartUpload). Up to a few seconds their answer is an ordinary
 * one, with the right status. After that the head goes out as 200 and white space keeps the connection alive; if the
 * operation then fails, the document is an <Error>, which SDKs look for (as S3 does it).
 */
import { type Answer, XML_TYPE, xmlAnswer } from '../http/answer.ts'
import { XML_DECLARATION } from '../xml/writer.ts'
import type { Call } from './operation.ts'

export interface LateResult {
  /** A whole document, declaration included. */
  document: string
  headers?: [string, string][]
}

export async function answerWhenDone(call: Call, work: Promise<LateResult>): Promise<Answer> {
  const { promise: late, resolve } = Promise.withResolvers<null>()
  const timer = setTimeout(resolve, call.patienceMs, null)
  try {
    const result = await Promise.race([work, late])
    if (result !== null) return xmlAnswer(result.document, result.headers)
  } finally {
    clearTimeout(timer)
  }
  const rest = work.then(
    ({ document }) => document.slice(XML_DECLARATION.length),
    (error: unknown) => call.lateErrorXml(error),
  )
  return { status: 200, headers: [], body: { kind: 'late', opening: XML_DECLARATION, rest, contentType: XML_TYPE } }
}
