/**
 * uWebSockets.js wants glibc 2.38. On older ones a copy of its library is patched to load, and a small shim brings the
 * symbols that are missing. `prepared.json` tells the loader (src/main/gateway/http/load-uws.ts) what to load.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { weakenNewerGlibc } from './elf.mjs'
import { SetupFailure } from './failure.mjs'
import { modulesDir, node24, root, uwsDir } from './paths.mjs'
import { atLeast, glibcVersion } from './prerequisites.mjs'
import { runStep, say } from './run.mjs'
import { fingerprint, readStamp, replaceFile, writeStamp } from './stamp.mjs'

const NODE_24_ABI = 137
const WANTED_GLIBC = [2, 38]
const original = path.join(modulesDir, 'uWebSockets.js', `uws_linux_${process.arch}_${NODE_24_ABI}.node`)
const headers = path.join(modulesDir, 'node-api-headers', 'include')
const here = path.join(root, 'scripts', 'setup')
const shimSource = path.join(here, 'glibc-shim.c')
const manifest = path.join(uwsDir, 'prepared.json')

export const uws = {
  compiles: true,
  needed() {
    return !fs.existsSync(original) || !fs.existsSync(manifest) || readStamp('uws') !== current()
  },
  async run() {
    if (!fs.existsSync(original)) throw new SetupFailure(`${path.relative(root, original)} is missing: this uWebSockets.js has no build for Node 24 on ${process.arch}`)
    const prepared = atLeast(glibcVersion(), WANTED_GLIBC) ? { library: null, shim: null } : await prepareForOlderGlibc()
    replaceFile(manifest, `${JSON.stringify(prepared)}\n`)
    tryLoading()
    writeStamp('uws', current())
  },
}

async function prepareForOlderGlibc() {
  const library = fs.readFileSync(original)
  const weakened = weakenNewerGlibc(library, glibcVersion())
  replaceFile(path.join(uwsDir, 'uws.node'), library)
  const shim = path.join(uwsDir, 'shim.node')
  const fresh = `${shim}.${process.pid}`
  await runStep('uws', `preparing uWebSockets.js for glibc ${glibcVersion().join('.')} (${weakened.join(', ')} made optional)`, 'cc', [
    '-shared', '-fPIC', '-O2', '-Wall', '-Werror', `-I${headers}`, '-o', fresh, shimSource,
  ])
  fs.renameSync(fresh, shim)
  return { library: 'uws.node', shim: 'shim.node' }
}

/** Better a clear line now than a crash at the start of the gateway. */
function tryLoading() {
  const loader = path.join(root, 'src', 'main', 'gateway', 'http', 'load-uws.ts')
  const script = `const { loadUws } = await import(${JSON.stringify(loader)}); if (typeof loadUws().App !== 'function') throw new Error('no App')`
  const { status, stderr } = spawnSync(node24, ['--input-type=module', '-e', script], { encoding: 'utf8', cwd: root })
  if (status === 0) return
  say(stderr)
  throw new SetupFailure('uWebSockets.js does not load on this machine')
}

function current() {
  const files = [original, shimSource, path.join(here, 'uws.mjs'), path.join(here, 'elf.mjs')]
  return fingerprint(files, `${process.arch} glibc ${glibcVersion().join('.')}`)
}
