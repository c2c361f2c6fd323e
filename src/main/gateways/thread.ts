/** A gateway thread: the same runtime as on the main thread, steered by messages. */
import { parentPort, workerData } from 'node:worker_threads'
import { loadNative } from '../../shared/load-native.ts'
import { assert } from '../../shared/errors.ts'
import { createLogger } from '../observability/logger.ts'
import { reportUnhandledRejections } from '../observability/unhandled.ts'
import type { FromThread, NodeView, ThreadData, ToThread } from './messages.ts'
import { createGatewayRuntime, openStorageRuntime, type GatewayHost, type StorageRuntime } from './runtime.ts'

assert(parentPort !== null, 'runs in a worker thread')
const port = parentPort
const data = workerData as ThreadData
let view: NodeView = data.view

const send = (message: FromThread): void => port.postMessage(message)

// structured clone makes plain arrays of the keys
const encryptionKeys = data.config.encryptionKeys.map(({ id, key }) => ({ id, key: Buffer.from(key) }))
const config = { ...data.config, encryptionKeys }
const host: GatewayHost = {
  thread: data.thread, native: loadNative(), logger: createLogger(config.rustLog), view: () => view.drives, health: () => view.health, ready: () => view.ready,
  changed: (event) => send({ type: 'event', event }),
}
const storage = await openStorage()
const runtime = createGatewayRuntime(config, storage, host)

/** While the database is waited for, a thread hears nothing but its end. */
async function openStorage(): Promise<StorageRuntime> {
  const ending = new AbortController()
  const hear = (message: ToThread): void => {
    if (message.type === 'close') ending.abort()
  }
  port.on('message', hear)
  try {
    return await openStorageRuntime({ config, global: data.global, regional: data.regional }, host, ending.signal)
  } catch (error) {
    if (ending.signal.aborted) process.exit(0) // of a thread: it ends, and nothing else
    throw error
  } finally {
    port.off('message', hear)
  }
}

async function handle(message: ToThread): Promise<void> {
  switch (message.type) {
    case 'view':
      view = message.view
      return
    case 'event':
      return storage.hear(message.event)
    case 'reset-slots':
      return storage.groups.resetSlots()
    case 'listen':
      return send({ type: 'listen', port: (await runtime.listen()).port })
    case 'report':
      return send({ type: 'report', report: { inUse: runtime.inUse(), oldestReadMs: runtime.oldestReadMs() } })
    case 'metrics':
      return send({ type: 'metrics', values: await runtime.metrics() })
    case 'drain':
      await runtime.drain(message.ms)
      return send({ type: 'drain' })
    case 'close':
      try {
        await storage.close()
      } finally {
        port.close()
      }
      return
  }
}

const failed = (error: unknown): void => send({ type: 'failed', error: error instanceof Error ? error : new Error(String(error)) })

port.on('message', (message: ToThread) => {
  handle(message).catch(failed)
})
process.on('uncaughtException', failed)
reportUnhandledRejections(host.logger)
send({ type: 'created' })
