#!/usr/bin/env node
/**
 * Builds the addon in release mode: native/addon/anvil.node and native/addon/index.d.ts. Cargo's own cache makes it
 * incremental. Arguments are passed on to `napi build`, e.g. `--profile dev`.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const addonDir = path.join(root, 'native', 'addon')
const targetDir = process.env.CARGO_TARGET_DIR ?? path.join(root, 'native', 'target')
const outDir = path.join(targetDir, 'addon-out')
const napi = path.join(root, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js')
const products = ['anvil.node', 'index.d.ts']

const passedOn = process.argv.slice(2)
const profile = passedOn.some((argument) => argument === '--profile' || argument.startsWith('--profile=')) ? [] : ['--release']

fs.mkdirSync(outDir, { recursive: true })
const built = spawnSync(
  process.execPath,
  [
    napi, 'build', ...profile, '--no-js', '--dts', 'index.d.ts',
    '--cwd', addonDir, '--manifest-path', 'Cargo.toml', '--config-path', 'napi.json',
    '--package-json-path', path.relative(addonDir, path.join(root, 'package.json')),
    '--target-dir', targetDir, '--output-dir', path.relative(addonDir, outDir),
    ...passedOn,
  ],
  { cwd: addonDir, stdio: 'inherit' },
)
if (built.error !== undefined) throw built.error
if (built.status !== 0) process.exit(built.status ?? 1)
for (const product of products) replace(path.join(outDir, product), path.join(addonDir, product))
console.log(`native/addon/${products[0]} is up to date`)

/** By a rename, and only if it changed: a running process may have the old file mapped as code. */
function replace(from, to) {
  const content = fs.readFileSync(from)
  if (fs.existsSync(to) && fs.readFileSync(to).equals(content)) return
  const temporary = `${to}.${process.pid}`
  fs.writeFileSync(temporary, content)
  fs.renameSync(temporary, to)
}
