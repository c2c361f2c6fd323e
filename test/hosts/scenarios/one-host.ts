/** Host A of the tutorial: both databases and the first node, with the settings of docker/docker-compose.yml. */
import assert from 'node:assert/strict'
import { logTail, startNode } from '../anvil-node.ts'
import { firstNode, startDatabases } from '../deployment.ts'
import { hostA } from '../network.ts'
import { StoredObjects } from '../objects.ts'
import type { Scenario } from '../steps.ts'
import type { Runtime } from './runtime.ts'

export const oneHost = (runtime: Runtime): Scenario => ({
  title: `Host A: two Postgres servers and anvil1 (${runtime.name})`,
  async play(stage) {
    const { step, note, after } = stage
    const databases = await step('two Postgres servers listen on 203.0.113.1, with a password that URLs must encode', startDatabases)
    after(() => databases.stop())
    const anvil1 = runtime.node(stage, firstNode(hostA(stage.owner)))
    const readyMs = await step('anvil1 starts with the settings of docker-compose.yml', () => startNode(anvil1))
    note(`ready ${(readyMs / 1000).toFixed(1)} s after its start`)
    const objects = new StoredObjects('one-host')
    await step('objects of every size class are put and read back', async () => {
      await objects.makeBucket(anvil1)
      await objects.put(anvil1, 'first')
      await objects.check(anvil1)
    })
    await step('SIGTERM ends it with exit code 0', async () => {
      assert.equal(await anvil1.stop(), 0, await logTail(anvil1))
    })
    await step('started again, it has its data', async () => {
      await startNode(anvil1)
      await objects.check(anvil1)
    })
    await step('after SIGKILL and a restart of both databases it has its data', async () => {
      await anvil1.kill()
      await Promise.all([databases.global.restart(), databases.regional.restart()])
      await startNode(anvil1)
      await objects.check(anvil1)
      await objects.put(anvil1, 'second')
    })
  },
})
