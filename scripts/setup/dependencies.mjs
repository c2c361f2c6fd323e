/** npm packages, exactly as package-lock.json has them. Install scripts are not needed; the other steps do their work. */
import fs from 'node:fs'
import path from 'node:path'
import { SetupFailure } from './failure.mjs'
import { modulesDir, node24, root } from './paths.mjs'
import { checkNpm } from './prerequisites.mjs'
import { runStep } from './run.mjs'

const lockFile = path.join(root, 'package-lock.json')
/** npm writes it at the end of each installation: what really lies in node_modules. */
const installedFile = path.join(modulesDir, '.package-lock.json')
const flags = ['--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--no-progress']

export const dependencies = {
  needed() {
    return !fs.existsSync(node24) || differs()
  },
  async run() {
    checkNpm()
    // An outdated node_modules is brought up to date in place, because other processes may be running from it.
    if (fs.existsSync(installedFile)) await runStep('npm-install', 'updating the npm packages (npm install)', 'npm', ['install', '--no-save', ...flags])
    if (this.needed()) await runStep('npm-ci', 'installing the npm packages (npm ci)', 'npm', ['ci', ...flags])
    if (!fs.existsSync(node24)) throw new SetupFailure(`npm did not install ${path.relative(root, node24)}; is npm told to omit optional packages?`)
    if (this.needed()) throw new SetupFailure('node_modules still differs from package-lock.json after npm ci')
  },
}

/** Whether an installed package differs from the lock. Optional ones may be absent: they are for other machines. */
function differs() {
  if (!fs.existsSync(installedFile)) return true
  const wanted = JSON.parse(fs.readFileSync(lockFile, 'utf8')).packages
  const installed = JSON.parse(fs.readFileSync(installedFile, 'utf8')).packages
  return Object.entries(wanted).some(([place, entry]) => {
    if (place === '') return false
    const found = installed[place]
    if (found === undefined) return !(entry.optional || entry.devOptional || entry.peer)
    return found.version !== entry.version || found.integrity !== entry.integrity
  })
}
