/** The one place that loads the addon. Any thread may: what it owns is one per process. */
import { createRequire } from 'node:module'
import type { Native } from './native.ts'

const require = createRequire(import.meta.url)
let loaded: Native | undefined

/** The addon; an error that says how to build it if it is not there. */
export function loadNative(): Native {
  if (loaded !== undefined) return loaded
  try {
    return (loaded = require('../../native/addon/anvil.node') as Native)
  } catch (error) {
    throw new Error('the addon native/addon/anvil.node does not load; `npm run build` makes it', { cause: error })
  }
}
