/** A call with one answer, as a function that may reject. */
import type { handleUnaryCall, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import { toServiceError } from './errors.ts'

export function unary<Request, Answer>(logger: Logger, work: (call: ServerUnaryCall<Request, Answer>) => Promise<Answer>): handleUnaryCall<Request, Answer> {
  const answer = async (call: ServerUnaryCall<Request, Answer>): Promise<Parameters<sendUnaryData<Answer>>> => {
    try {
      return [null, await work(call)]
    } catch (error) {
      return [toServiceError(error, logger)]
    }
  }
  return (call, send) => void answer(call).then((answered) => send(...answered))
}
