/**
 * What a thread that serves requests measures of itself: requests, bytes, Postgres batches, its event loop. Each thread has
 * a registry of its own; they are added up when Prometheus asks.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry, type MetricObjectWithValues, type MetricValue } from 'prom-client'

/** One answered (or aborted) request. */
export interface RequestFigures {
  operation: string
  status: number
  durationMs: number
  receivedBytes: number
  sentBytes: number
  aborted: boolean
}

export type MetricValues = MetricObjectWithValues<MetricValue<string>>[]

export interface ThreadMetrics {
  request(figures: RequestFigures): void
  /** One batch of the metadata writer, from its sending to its outcome. */
  batch(rows: number, durationMs: number): void
  /** All values, as plain data that a thread can post. */
  values(): Promise<MetricValues>
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
/** How often the loop is looked at; part of what Node measures as its delay. */
const RESOLUTION_MS = 10
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]

/** @param thread name of the thread in labels: `main`, `gateway-1` … */
export function createThreadMetrics(thread: string): ThreadMetrics {
  const registry = new Registry()
  const registers = [registry]
  const requests = new Counter({ name: 'anvil_s3_requests_total', help: 'Answered S3 requests', labelNames: ['operation', 'status'], registers })
  const aborted = new Counter({ name: 'anvil_s3_requests_aborted_total', help: 'S3 requests whose client went away', labelNames: ['operation'], registers })
  const latency = new Histogram({
    name: 'anvil_s3_request_duration_seconds', help: 'From the head of a request to the end of its answer', labelNames: ['operation'], buckets: SECONDS, registers,
  })
  const received = new Counter({ name: 'anvil_s3_received_bytes_total', help: 'Bytes of request bodies', registers })
  const sent = new Counter({ name: 'anvil_s3_sent_bytes_total', help: 'Bytes of answers\' bodies', registers })
  const batchRows = new Histogram({ name: 'anvil_metadata_batch_rows', help: 'Rows of one batch of the metadata writer', buckets: ROWS, registers })
  const batchSeconds = new Histogram({ name: 'anvil_metadata_batch_duration_seconds', help: 'From sending a batch to its outcome', buckets: SECONDS, registers })
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  void new Gauge({
    name: 'anvil_event_loop_lag_seconds', help: 'How late the event loop of a thread was since it was last asked', labelNames: ['thread', 'quantile'], registers,
    collect() {
      // before the first measurement there is none
      const seconds = (percentile: number): number => (delay.count === 0 ? 0 : Math.max(0, delay.percentile(percentile) / 1e9 - RESOLUTION_MS / 1000))
      this.set({ thread, quantile: '0.5' }, seconds(50))
      this.set({ thread, quantile: '0.99' }, seconds(99))
      this.set({ thread, quantile: '1' }, seconds(100))
      delay.reset()
    },
  })
  return {
    request({ operation, status, durationMs, receivedBytes, sentBytes, aborted: gone }) {
      received.inc(receivedBytes)
      sent.inc(sentBytes)
      if (gone) return aborted.inc({ operation })
      requests.inc({ operation, status: String(status) })
      latency.observe({ operation }, durationMs / 1000)
    },
    batch(rows, durationMs) {
      batchRows.observe(rows)
      batchSeconds.observe(durationMs / 1000)
    },
    values: () => registry.getMetricsAsJSON(),
  }
}
