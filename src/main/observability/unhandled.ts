/**
 * A rejection that nobody looked at is a mistake of this program, in one request or one round of background work. It is
 * said loudly, and does not take every other request of the process with it. Holds for the thread that calls this.
 */
import type { Logger } from 'pino'

export function reportUnhandledRejections(logger: Logger): void {
  process.on('unhandledRejection', (reason) => {
    logger.error({ err: reason }, 'a promise was rejected and nobody looked: this is a mistake in Anvil')
  })
}
