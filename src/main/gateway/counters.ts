/** What a gateway counts. Plain data, so that a thread can post it. */
export interface GatewayCounters {
  /** Requests under way. */
  active: number
  /** Answered requests, by S3's name of the operation and then by status. Requests that were none are `unknown`. */
  requests: Record<string, Record<number, number>>
  /** Sum of the time from head to end of answer, by operation. Milliseconds. */
  durationMs: Record<string, number>
  receivedBytes: number
  sentBytes: number
  /** Connections that ended before their answer did. */
  aborted: number
  /** Answers that had to be cut because the rest of the object could not be read. */
  cut: number
}

export const newCounters = (): GatewayCounters =>
  ({ active: 0, requests: {}, durationMs: {}, receivedBytes: 0, sentBytes: 0, aborted: 0, cut: 0 })

export function countRequest(counters: GatewayCounters, operation: string, status: number, durationMs: number): void {
  const byStatus = (counters.requests[operation] ??= {})
  byStatus[status] = (byStatus[status] ?? 0) + 1
  counters.durationMs[operation] = (counters.durationMs[operation] ?? 0) + durationMs
}
