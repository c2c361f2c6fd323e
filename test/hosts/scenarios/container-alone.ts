/** One container with nothing around it: the embedded default. */
import assert from 'node:assert/strict'
import { AnvilContainer } from '../anvil-container.ts'
import { CREDENTIALS, logTail, type NodeSettings, startNode } from '../anvil-node.ts'
import { hostA } from '../network.ts'
import { StoredObjects } from '../objects.ts'
import type { Scenario } from '../steps.ts'
import { until } from '../../support/until.ts'

export const containerAlone: Scenario = {
  title: 'A container on its embedded default',
  async play({ owner, step, note, after }) {
    const host = hostA(owner)
    const settings: NodeSettings = {
      name: 'alone', host, namespace: host.namespace, args: ['--init-cluster'], volumes: true,
      env: { ANVIL_BOOTSTRAP_ACCESS_KEY: CREDENTIALS.accessKeyId, ANVIL_BOOTSTRAP_SECRET_KEY: CREDENTIALS.secretAccessKey },
    }
    const node = new AnvilContainer(settings, owner)
    after(() => node.dispose())
    const readyMs = await step('it starts', () => startNode(node))
    note(`ready ${(readyMs / 1000).toFixed(1)} s after its start`)
    await step('it is not root, and anvil is on PATH', async () => {
      assert.equal((await node.exec('id', '-u')).stdout.trim(), '10001')
      const { code, stdout, stderr } = await node.anvil('--version')
      assert.equal(code, 0, stderr)
      assert.match(stdout, /\d+\.\d+\.\d+/)
    })
    await step('its health check says that it is well', async () => {
      const { code, stdout, stderr } = await node.health()
      assert.equal(code, 0, stdout + stderr)
    })
    const objects = new StoredObjects('alone')
    await step('objects of every size class are put and read back', async () => {
      await objects.makeBucket(node)
      await objects.put(node, 'first')
      await objects.check(node)
    })
    await step('SIGTERM ends it with exit code 0', async () => {
      assert.equal(await node.stop(), 0, await logTail(node))
    })
    await step('a new container with its volumes has its data', async () => {
      await node.remove()
      await startNode(node)
      await objects.check(node)
    })
    await step('killed and started again it has its data', async () => {
      await node.kill()
      await startNode(node)
      await objects.check(node)
    })
    await step('with half of its settings it ends with a line for each that is missing', async () => {
      const half = new AnvilContainer({ ...settings, name: 'half', args: [], volumes: false, env: { GLOBAL_DATABASE_URL: 'postgres://anvil@203.0.113.1:5433/anvil_global' } }, owner)
      await half.launch()
      try {
        await until('it has ended', async () => !(await half.running()))
        const log = await half.log()
        for (const variable of ['REGIONAL_DATABASE_URL', 'REGION', 'JWT_SECRET', 'ANVIL_SECRET_ENCRYPTION_KEY', 'ANVIL_CLUSTER_SECRET']) {
          assert.match(log, new RegExp(`^anvil: ${variable}: was not set, must be `, 'm'), log)
        }
      } finally {
        await half.dispose()
      }
    })
  },
}
