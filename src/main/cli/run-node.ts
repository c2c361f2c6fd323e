/** anvil [--init-cluster] */
import type { Logger } from 'pino'
import type { RunningNode } from '../node.ts'
import { requireConfig } from './admin-databases.ts'
import { ExitError, EXIT_FAILURE, EXIT_USAGE } from './failure.ts'
import { welcome } from './welcome.ts'

export async function runNodeCommand({ initCluster = false }: { initCluster?: boolean }): Promise<void> {
  const { config, warnings } = requireConfig({ mayGenerate: true })
  // Loaded here, so that the other commands start without the addon and the HTTP server.
  const [{ startNode, StartError }, { createLogger }, { reportUnhandledRejections }] = await Promise.all([
    import('../node.ts'), import('../observability/logger.ts'), import('../observability/unhandled.ts'),
  ])
  const logger = createLogger(config.rustLog)
  reportUnhandledRejections(logger)
  for (const warning of warnings) logger.warn(warning)
  const stopping = stopSignal(logger)

  let node: RunningNode
  try {
    node = await startNode(config, { initCluster, logger, signal: stopping })
  } catch (error) {
    if (stopping.aborted) return
    if (!(error instanceof StartError)) throw error
    for (const line of error.lines) process.stderr.write(`anvil: ${line}\n`)
    throw new ExitError(EXIT_USAGE)
  }
  welcome(config, node)
  const failure = await Promise.race([node.failed, once(stopping)])
  if (failure) logger.fatal({ err: failure }, 'the node ends')
  await node.stop()
  logger.info('stopped')
  if (failure) throw new ExitError(EXIT_FAILURE)
}

/** Aborts at the first SIGTERM or SIGINT. A second one ends the process at once: what it acknowledged is durable. */
function stopSignal(logger: Logger): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
      logger.info({ signal }, 'stopping: no new requests, running ones finish')
      controller.abort(new Error(`stopped by ${signal}`))
    })
  }
  return controller.signal
}

const once = (signal: AbortSignal): Promise<null> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(null)
    else signal.addEventListener('abort', () => resolve(null), { once: true })
  })
