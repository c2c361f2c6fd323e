/** ClusterService: the state of the cluster, once or as it changes. Administrators only. */
import type { ServerWritableStream } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import { requireAdministrator } from './caller.ts'
import { toServiceError } from './errors.ts'
import type { ClusterServiceHandlers } from './generated/anvil/v1/ClusterService.ts'
import type { ClusterStatus } from './generated/anvil/v1/ClusterStatus.ts'
import { expired } from './tokens.ts'
import { unary } from './unary.ts'

/** What assembles the state; it may ask the database. */
export type StatusSource = () => Promise<ClusterStatus>

export interface ClusterServiceOptions {
  status: StatusSource
  jwtSecret: string
  logger: Logger
  /** How often watched state is looked at. @default 1000 */
  everyMs?: number
}

export function clusterService({ status, jwtSecret, logger, everyMs = 1000 }: ClusterServiceOptions): ClusterServiceHandlers {
  return {
    GetStatus: unary(logger, async ({ metadata }) => {
      await requireAdministrator(metadata, jwtSecret)
      return status()
    }),
    // an error that is emitted becomes the status of the stream; destroying it would end it without one
    WatchStatus(call) {
      watch(call, status, jwtSecret, everyMs).catch((error: unknown) => call.emit('error', toServiceError(error, logger)))
    },
  }
}

/**
 * Ends when the client does, or with UNAUTHENTICATED when its token has expired. What a slow client has not taken yet is not
 * piled up: it gets the newest when it reads on.
 */
async function watch(
  call: ServerWritableStream<unknown, ClusterStatus>, status: StatusSource, jwtSecret: string, everyMs: number,
): Promise<void> {
  const { expiresMs } = await requireAdministrator(call.metadata, jwtSecret)
  const leftMs = (): number => expiresMs - Date.now()
  let last = ''
  while (!call.cancelled && !call.destroyed) {
    const now = await status()
    if (leftMs() <= 0) throw expired()
    const text = JSON.stringify(now)
    if (text !== last && !call.cancelled) {
      last = text
      if (!call.write(now)) await drained(call, leftMs)
    }
    await pause(call, Math.min(everyMs, leftMs()))
  }
  call.end()
}

const ENDED = ['cancelled', 'close', 'error'] as const

/** A timer of more is none. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** @throws TokenError when the token expires before the client reads on */
async function drained(call: ServerWritableStream<unknown, ClusterStatus>, leftMs: () => number): Promise<void> {
  let isDrained = false
  const onDrain = (): void => void (isDrained = true)
  call.once('drain', onDrain)
  while (!isDrained && !call.cancelled && !call.destroyed) {
    if (leftMs() <= 0) throw expired()
    await woken(call, (done) => {
      const timer = setTimeout(done, Math.min(leftMs(), MAX_TIMER_MS))
      call.once('drain', done)
      return () => {
        clearTimeout(timer)
        call.off('drain', done)
      }
    })
  }
  call.off('drain', onDrain)
}

function pause(call: ServerWritableStream<unknown, ClusterStatus>, ms: number): Promise<void> {
  return woken(call, (done) => {
    const timer = setTimeout(done, ms)
    return () => clearTimeout(timer)
  })
}

/** Resolves when what `start` waits for happens, or the call ends. */
function woken(call: ServerWritableStream<unknown, ClusterStatus>, start: (done: () => void) => () => void): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stop()
      for (const event of ENDED) call.off(event, done)
      resolve()
    }
    for (const event of ENDED) call.once(event, done)
    const stop = start(done)
  })
}
