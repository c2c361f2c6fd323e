/**
 * Stand-ins for the base images that docker/Dockerfile names, under their names, for machines that reach no image
 * registry: Debian by debootstrap, Node as the registry package that the checkout runs on, the host's own Rust.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { run } from './commands.ts'
import { buildah, buildLog, checkout, podman, podmanOutcome } from './podman.ts'

const DEBIAN = 'docker.io/library/debian:trixie-slim'
const RELEASE = 'trixie'
const recipes = path.join(import.meta.dirname, 'stand-ins')
/** What a stand-in was made from; another one makes it anew. */
const RECIPE_LABEL = 'anvil.test.recipe'
const STEP_TIMEOUT_MS = 900_000

/** Whatever is there already stays. */
export async function makeStandIns(): Promise<void> {
  const node = path.join(checkout, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
  const rust = (await run('rustc', ['--print', 'sysroot'])).trim()
  const rustVersion = await run('rustc', ['--version'])
  await makeIfOther(DEBIAN, RELEASE, debian)
  await makeIfOther('docker.io/library/node:24-trixie-slim', recipe('node', process.version), (name, label) =>
    withFolder(async (context) => {
      await run('npm', ['install', '--global', '--prefix', context, '--no-audit', '--no-fund', 'npm@11'])
      fs.copyFileSync(node, path.join(context, 'bin', 'node'))
      await fromRecipe('node', name, label, context)
    }))
  await makeIfOther('docker.io/library/rust:1-slim-trixie', recipe('rust', rustVersion), (name, label) => fromRecipe('rust', name, label, rust))
}

async function debian(name: string, label: string): Promise<void> {
  await withFolder(async (folder) => {
    const root = path.join(folder, 'root')
    await run('debootstrap', ['--variant=minbase', RELEASE, root], { timeoutMs: STEP_TIMEOUT_MS, logFile: buildLog('debootstrap') })
    // Slim: without the packages it was made of, manuals and translations.
    for (const part of ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/doc', 'usr/share/man', 'usr/share/locale']) {
      fs.rmSync(path.join(root, part), { recursive: true })
      fs.mkdirSync(path.join(root, part))
    }
    const archive = path.join(folder, 'root.tar')
    await run('tar', ['--create', '--file', archive, '--directory', root, '--numeric-owner', '--xattrs', '.'], { timeoutMs: STEP_TIMEOUT_MS })
    await podman(['import', '--change', 'CMD ["bash"]', '--change', `LABEL ${RECIPE_LABEL}=${label}`, archive, name], { timeoutMs: STEP_TIMEOUT_MS })
  })
}

async function fromRecipe(kind: string, name: string, label: string, context: string): Promise<void> {
  const args = ['bud', '--isolation=chroot', '--format', 'docker', '--force-rm', '--no-cache', '--pull-never', '--label', `${RECIPE_LABEL}=${label}`]
  const file = path.join(recipes, `${kind}.Containerfile`)
  await buildah([...args, '--tag', name, '--file', file, context], { timeoutMs: STEP_TIMEOUT_MS, logFile: buildLog(`stand-in-${kind}`) })
}

async function makeIfOther(name: string, label: string, make: (name: string, label: string) => Promise<void>): Promise<void> {
  if ((await labelOf(name)) === label) return
  const began = performance.now()
  await make(name, label)
  console.log(`  made a stand-in for ${name} in ${((performance.now() - began) / 1000).toFixed(1)} s`)
}

/** Of an image; '' when there is no such image. */
async function labelOf(name: string): Promise<string> {
  const { code, stderr } = await podmanOutcome(['image', 'exists', name])
  if (code === 1) return ''
  if (code !== 0) throw new Error(`podman image exists ${name}: ${stderr}`)
  return (await podman(['image', 'inspect', '--format', `{{index .Config.Labels "${RECIPE_LABEL}"}}`, name])).trim()
}

function recipe(kind: string, version: string): string {
  const text = fs.readFileSync(path.join(recipes, `${kind}.Containerfile`))
  return createHash('sha256').update(RELEASE).update(text).update(version).digest('hex').slice(0, 16)
}

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'anvil-stand-in-'))
  fs.chmodSync(folder, 0o755)
  try {
    await work(folder)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
