/** Requests and answers between proven peers: one stream each, the request in one message, then the answer in one. */
import type { Connection, Stream } from '@libp2p/interface'
import { frameChannel } from './frames.ts'
import type { RequestHandler } from './contract.ts'
import type { NodeId } from '../../shared/ids.ts'
import { MAX_REQUEST_BYTES, REQUEST_TIMEOUT_MS } from './limits.ts'

/** First byte of an answer. */
const ANSWERED = 0
const FAILED = 1
const MAX_MESSAGE_BYTES = MAX_REQUEST_BYTES + 1
const MAX_FAILURE_CHARACTERS = 300

export const requestProtocol = (name: string): string => `/anvil/${name}/1`

/** @throws Error when the peer fails, cuts the stream or does not answer before the signal */
export async function sendRequest(connection: Connection, name: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  if (body.length > MAX_REQUEST_BYTES) throw new RangeError(`a request of ${body.length} bytes, at most ${MAX_REQUEST_BYTES} are allowed`)
  const stream = await connection.newStream(requestProtocol(name), { signal })
  const channel = frameChannel(stream, MAX_MESSAGE_BYTES)
  try {
    channel.send(body)
    const answer = await channel.receive(signal)
    if (answer === null || answer.length === 0) throw new Error(`${name}: the peer ended without an answer`)
    if (answer[0] !== ANSWERED) throw new Error(`${name}: the peer failed: ${printable(answer.subarray(1))}`)
    await channel.end()
    return answer.subarray(1)
  } catch (error) {
    channel.abort(error as Error)
    throw error
  }
}

export interface AnsweredRequest {
  receivedBytes: number
  sentBytes: number
  /** What the handler threw. */
  failure: unknown
}

/** The other side. @throws what the stream gives, when the peer goes away in the middle */
export async function answerRequest(stream: Stream, from: NodeId, handler: RequestHandler): Promise<AnsweredRequest> {
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  const channel = frameChannel(stream, MAX_MESSAGE_BYTES)
  const body = await channel.receive(signal)
  if (body === null) throw new Error('the peer ended without a request')
  let answer: Uint8Array
  let failure: unknown = null
  try {
    const result = await handler(from, body)
    if (result.length > MAX_REQUEST_BYTES) throw new RangeError(`an answer of ${result.length} bytes`)
    answer = Buffer.concat([Buffer.of(ANSWERED), result])
  } catch (error) {
    failure = error
    answer = Buffer.concat([Buffer.of(FAILED), Buffer.from(error instanceof Error ? error.message : String(error))]).subarray(0, MAX_FAILURE_CHARACTERS)
  }
  channel.send(answer)
  await channel.end()
  return { receivedBytes: body.length, sentBytes: answer.length, failure }
}

/** A peer's words as one log line takes them. */
const printable = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8').replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_FAILURE_CHARACTERS)
