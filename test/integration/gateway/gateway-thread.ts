/** A gateway in a worker thread: says its port, drains when told, and ends. */
import { parentPort, workerData } from 'node:worker_threads'
import { startHarness } from './harness.ts'

const harness = await startHarness({ listen: { host: '127.0.0.1', port: (workerData as { port: number }).port } })
parentPort!.postMessage(harness.port)
parentPort!.once('message', () => {
  void harness.stop()
})
