/**
 * `npm run test:hosts [-- SCENARIO…]` and `npm run test:container [-- --pull] [SCENARIO…]`: Anvil on hosts of its own,
 * which are network namespaces. This process prepares what needs the machine's network, then plays the scenarios in a
 * child inside host A's network (inside.ts), and removes everything at the end, however that went.
 */
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { stopCommands } from './commands.ts'
import { buildImage } from './image.ts'
import { removeLeftNamespaces } from './namespaces.ts'
import { makeHostA } from './network.ts'
import { releaseStorage, removeContainers, takeStorage } from './podman.ts'
import { missing } from './requirements.ts'

const MB = 1e6
const [kind = '', ...rest] = process.argv.slice(2)
const containers = kind === 'container'
const pull = rest.includes('--pull')
const wanted = rest.filter((argument) => argument !== '--pull')

const lacking = missing({ containers, standIns: !pull })
if (lacking.length > 0) {
  console.log(`npm run test:${kind} needs\n${lacking.map((line) => `  - ${line}`).join('\n')}\n0 passed, 0 failed, 1 skipped`)
  process.exit(0)
}

const owner = process.pid
if (containers) takeStorage(owner)
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'anvil-hosts-'))
fs.chmodSync(folder, 0o755) // the embedded Postgres runs under another account
let interrupted = false
let stopInside = (): void => undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted = true
    stopCommands()
    stopInside()
  })
}

try {
  await removeLeftNamespaces(owner)
  if (containers) await build()
  process.exitCode = await playInside()
} catch (error) {
  if (!interrupted) console.log(`${String((error as Error).stack ?? error)}\n0 passed, 1 failed, 0 skipped`)
  process.exitCode = interrupted ? 130 : 1
} finally {
  if (containers) await removeContainers(owner)
  await removeLeftNamespaces(owner)
  if (containers) await releaseStorage()
  fs.rmSync(folder, { recursive: true, force: true })
}

async function build(): Promise<void> {
  console.log(`building docker/Dockerfile${pull ? '' : ' on stand-ins for its base images'} (minutes the first time; logs in .cache/containers)`)
  const image = await buildImage(pull)
  const ownBytes = image.bytes - image.baseBytes
  console.log(`  ghcr.io/worka-ai/anvil:main in ${image.seconds.toFixed(1)} s: ${Math.round(image.bytes / MB)} MB, of which ${Math.round(ownBytes / MB)} MB above its base image`)
}

async function playInside(): Promise<number> {
  const { namespace } = await makeHostA(owner)
  const child = namespace.spawn(process.execPath, [path.join(import.meta.dirname, 'inside.ts'), String(owner), folder, kind, ...wanted], { stdio: 'inherit' })
  stopInside = () => void child.kill('SIGTERM')
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}
