/** The addon in the test's own process, set up once: for drives without a node. */
import { loadNative } from '../../src/shared/load-native.ts'
import type { Native } from '../../src/shared/native.ts'

let native: Native | null = null

export function testNative(): Native {
  if (native === null) {
    native = loadNative()
    native.init({ memoryLimitBytes: 256 * 1024 * 1024, logFilter: 'error', runtimeThreads: 2 })
  }
  return native
}
