/**
 * `npm run chaos -- --seed 1 --minutes 10 [--nodes 6] [--rate 25] [--loopback] [--faults kill,pause]`: a cluster of real
 * processes under load while faults of all kinds come, drawn from the seed, and the account of what its clients were told.
 * As root each node has a network namespace of its own, which is cut and made lossy; otherwise, and with `--loopback`,
 * all run on loopback, with the faults of processes, drives and Postgres alone.
 */
import { once } from 'node:events'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { removeLeftNamespaces } from '../hosts/namespaces.ts'
import { makeHostA } from '../hosts/network.ts'
import { missing } from '../hosts/requirements.ts'
import { runCampaign } from './campaign.ts'
import { ChaosNetwork } from './network.ts'

/** Set for the process that plays inside the test's own network: pid of the one that removes it. */
const OWNER = 'ANVIL_CHAOS_OWNER'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '5' },
    nodes: { type: 'string', default: '6' },
    rate: { type: 'string', default: '25' },
    faults: { type: 'string', default: '' },
    loopback: { type: 'boolean', default: false },
  },
})

const [seed, minutes, nodes, perSecond] = (['seed', 'minutes', 'nodes', 'rate'] as const).map((name) => {
  const value = Number(values[name])
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} takes a number`)
  return value
}) as [number, number, number, number]
const owner = Number(process.env[OWNER] ?? 0)

if (owner > 0 || values.loopback) await playHere()
else await playInside()

async function playHere(): Promise<void> {
  process.once('SIGTERM', () => process.exit(143)).once('SIGINT', () => process.exit(130))
  const network = owner > 0 ? await ChaosNetwork.made(owner, nodes) : null
  const faults = values.faults.split(',').filter((name) => name !== '')
  const findings = await runCampaign({ seed, minutes, nodes, perSecond, faults, network })
  process.exit(findings === 0 ? 0 : 1)
}

async function playInside(): Promise<void> {
  const lacking = missing({ containers: false, standIns: false })
  if (lacking.length > 0) {
    console.log(`no faults of the network, which need\n${lacking.map((line) => `  - ${line}`).join('\n')}`)
    return playHere()
  }
  await removeLeftNamespaces(process.pid)
  try {
    const { namespace } = await makeHostA(process.pid)
    const child = namespace.spawn(process.execPath, [path.join(import.meta.dirname, 'main.ts'), ...process.argv.slice(2)], {
      stdio: 'inherit', env: { ...process.env, [OWNER]: String(process.pid) },
    })
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void child.kill('SIGTERM'))
    const [code] = (await once(child, 'exit')) as [number | null]
    process.exitCode = code ?? 1
  } finally {
    await removeLeftNamespaces(process.pid)
  }
}
