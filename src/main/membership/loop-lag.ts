/** How late the event loop runs: a node without CPU must not take the silence that it hears for the silence of others. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 20
const NANOSECONDS_PER_MS = 1e6

/** Reports the worst lateness of each period. The function ends it. */
export function watchLoopLag(everyMs: number, report: (lagMs: number) => void): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  const timer = setInterval(() => {
    // the histogram holds the time between two looks, of which the resolution is no lateness
    const lagMs = Math.max(0, delay.max / NANOSECONDS_PER_MS - RESOLUTION_MS)
    delay.reset()
    report(lagMs)
  }, everyMs)
  return () => {
    clearInterval(timer)
    delay.disable()
  }
}
