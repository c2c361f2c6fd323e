/** The regional database goes away in the middle of a start, for longer than a request would wait for it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, it } from 'node:test'
import { METADATA_WAIT_MS } from '../../src/shared/limits.ts'
import { TestCluster } from '../support/cluster.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'

/** What every connection of the metadata asks first, and the preparation of the start does not. */
const FIRST_QUESTION = "current_setting('server_encoding')"

let cluster: TestCluster
let proxy: FaultProxy
before(async () => {
  cluster = await TestCluster.created({ nodes: 1 })
  proxy = await startFaultProxy({ ...cluster.postgres.config, database: 'anvil_regional' })
})
after(async () => {
  await cluster?.dispose()
  await proxy?.close()
})

it('a node that has prepared its databases waits for the regional one, and says so', async () => {
  const url = `postgres://${proxy.config.user}@/anvil_regional?host=${encodeURIComponent(proxy.config.host)}&port=${proxy.config.port}`
  const node = await cluster.prepare(['--init-cluster'], { REGIONAL_DATABASE_URL: url })
  proxy.fault = ({ direction, chunk }) => {
    if (direction !== 'to-server' || !chunk.includes(FIRST_QUESTION)) return 'pass'
    proxy.refusing = true
    return { cutAfter: 0 }
  }
  node.launch()
  await until('the database goes away under it', () => proxy.refusing, { timeoutMs: 60_000, detail: () => node.logTail() })
  proxy.cutAll()
  const log = (): string => readFileSync(node.logFile, 'utf8')
  await until('it says that it waits', () => !node.running || log().includes('waiting for the database'), {
    timeoutMs: METADATA_WAIT_MS * 6, detail: () => node.logTail(),
  })
  assert.ok(node.running, node.logTail())
  proxy.fault = null
  proxy.refusing = false
  await node.untilReady()
})

it('a node that is stopped holds no lease of background work any more', async () => {
  const { first } = cluster
  const leases = () => cluster.sql<{ name: string }>('SELECT name FROM leases')
  await until('it has one', async () => (await leases()).some(({ name }) => name === 'placement groups'), { timeoutMs: 60_000 })
  assert.equal((await first.stop()).code, 0, first.logTail())
  assert.deepEqual(await leases(), [])
})
