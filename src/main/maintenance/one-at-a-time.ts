/** Background work that one node of the region does at a time, for economy: safety never rests on it. */
import type { ObjectMetadata } from '../metadata/contract.ts'
import type { BackgroundTask } from './background.ts'

/** A node that dies in the middle of such work is followed by another one within this time. */
const LEASE_MS = 20_000
/** A round that takes longer must not lose it to a node that waits. */
const RENEW_MS = 5000

export interface LeaseHolder {
  metadata: Pick<ObjectMetadata, 'lease'>
  /** Names this process. */
  holder: string
  /** False: this process cannot do it now, and leaves it to the others. @default it can */
  able?: (() => boolean) | undefined
}

/** The task, whose rounds run only while this process has the lease of its name. */
export function oneAtATime(task: BackgroundTask, { metadata, holder, able = () => true }: LeaseHolder): BackgroundTask {
  return {
    ...task,
    async round(progress, signal) {
      if (!able() || !(await metadata.lease(task.name, holder, LEASE_MS))) {
        progress.now = 'another node does it'
        return false
      }
      // a renewal that fails lets the lease run out, which costs nothing but economy
      const renewal = setInterval(() => void metadata.lease(task.name, holder, LEASE_MS).catch(() => false), RENEW_MS)
      try {
        return await task.round(progress, signal)
      } finally {
        clearInterval(renewal)
      }
    },
  }
}
