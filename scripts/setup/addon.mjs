/** The Rust addon, rebuilt when its sources change. */
import fs from 'node:fs'
import path from 'node:path'
import { SetupFailure } from './failure.mjs'
import { node24, root } from './paths.mjs'
import { environment, runStep } from './run.mjs'
import { fingerprint, readStamp, writeStamp } from './stamp.mjs'

const nativeDir = path.join(root, 'native')
const builder = path.join(root, 'scripts', 'build-addon.mjs')
const product = path.join(nativeDir, 'addon', 'anvil.node')

export const addon = {
  compiles: true,
  needed() {
    return !fs.existsSync(product) || readStamp('addon') !== current()
  },
  async run() {
    // Taken before the build: a source that is edited while it runs makes the next start build again.
    const built = current()
    await runStep('addon', 'building the addon (Rust, release; minutes the first time)', node24, [builder], withNode24())
    if (!fs.existsSync(product)) throw new SetupFailure(`${path.relative(root, builder)} did not make ${path.relative(root, product)}`)
    writeStamp('addon', built)
  },
}

/** The builder's own tools start with `#!/usr/bin/env node`. */
function withNode24() {
  const inherited = environment()
  return { ...inherited, PATH: `${path.dirname(node24)}${path.delimiter}${inherited.PATH}` }
}

function current() {
  return fingerprint([...sources(nativeDir), builder].filter((file) => fs.existsSync(file)), process.arch)
}

function sources(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name)
    if (entry.isDirectory()) return ['target', 'node_modules', 'proptest-regressions'].includes(entry.name) ? [] : sources(file)
    return /\.(rs|toml|lock|c|h|S|proto)$/.test(entry.name) ? [file] : []
  })
}
