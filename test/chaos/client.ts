/** One signed request to a node and what came of it, with its times; never throws. */
import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import type { NodeProcess } from '../support/node-process.ts'
import { queryString, sha256Hex, sign } from '../support/sigv4.ts'

export interface Call {
  method: string
  /** As sent. */
  path: string
  query?: Record<string, string>
  headers?: Record<string, string>
  body?: Buffer
}

export interface Answer {
  /** 0: none came. */
  status: number
  /** <Code> of an S3 error. */
  code: string
  headers: IncomingHttpHeaders
  body: Buffer
  /** The body ended as announced. */
  whole: boolean
  beganMs: number
  /** When the head of the answer was there, or nothing more could come. */
  headMs: number
  endedMs: number
  /** Why there is no whole answer. */
  failure: string
}

/** A node that is paused answers when it goes on; nobody waits that long. */
const PATIENCE_MS = 45_000

export function ask(node: NodeProcess, call: Call): Promise<Answer> {
  const { method, path, query = {}, headers = {}, body } = call
  const { address } = node.host
  const payloadHash = sha256Hex(body ?? '')
  const signed = sign({ method, path, query, headers: { host: `${address}:${node.port}`, ...headers }, payloadHash, credentials: node.credentials })
  const answer: Answer = {
    status: 0, code: '', headers: {}, body: Buffer.alloc(0), whole: false, beganMs: performance.now(), headMs: 0, endedMs: 0, failure: '',
  }
  return new Promise((resolve) => {
    const end = (failure: string): void => {
      if (answer.endedMs > 0) return
      clearTimeout(timer)
      answer.endedMs = performance.now()
      answer.headMs ||= answer.endedMs
      answer.failure = failure
      if (answer.status >= 400) answer.code = /<Code>(\w+)<\/Code>/.exec(answer.body.toString())?.[1] ?? ''
      resolve(answer)
    }
    const sent = request({
      host: address, port: node.port, method, path: Object.keys(query).length === 0 ? path : `${path}?${queryString(query)}`, agent: false,
      headers: { ...signed.headers, ...(body === undefined ? {} : { 'content-length': String(body.length) }) },
    }, (response) => {
      answer.status = response.statusCode!
      answer.headers = response.headers
      answer.headMs = performance.now()
      const pieces: Buffer[] = []
      const gather = (): Buffer => (answer.body = Buffer.concat(pieces))
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('end', () => {
        gather()
        answer.whole = response.complete
        end(response.complete ? '' : 'cut off')
      })
      response.on('error', (error) => {
        gather()
        end(error.message)
      })
    })
    const timer = setTimeout(() => {
      sent.destroy()
      end(`nothing for ${PATIENCE_MS} ms`)
    }, PATIENCE_MS)
    sent.on('error', (error) => end(error.message))
    sent.end(body)
  })
}
