#!/usr/bin/env node
/**
 * Run after each `npm install` that changes dependencies. npm leaves out of the lock what it could not look up: builds of
 * optional packages for other platforms, where the registry does not carry them. `npm ci` then refuses that lock on every
 * machine. This writes the missing entries from what their parents ask for; npm skips them on platforms they are not for.
 */
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const lockFile = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'package-lock.json')
const systems = ['linux', 'darwin', 'win32', 'android', 'freebsd', 'openharmony', 'openbsd', 'netbsd']
const processors = ['x64', 'arm64', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'loong64']
const libraries = { gnu: 'glibc', gnueabihf: 'glibc', musl: 'musl', musleabihf: 'musl' }

const lock = JSON.parse(fs.readFileSync(lockFile, 'utf8'))
for (const [place, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    if (resolves(place, name)) continue
    lock.packages[`node_modules/${name}`] = { version, ...platform(name), ...(dev ? { dev } : {}), optional: true }
    console.log(`added ${name}@${version}`)
  }
}
const [[, rootEntry], ...others] = Object.entries(lock.packages)
others.sort(([a], [b]) => a.localeCompare(b, 'en')) // npm's order
lock.packages = { '': rootEntry, ...Object.fromEntries(others) }
fs.writeFileSync(lockFile, `${JSON.stringify(lock, null, 2)}\n`)

/** As Node looks for packages: in the parent's node_modules, then outwards. */
function resolves(place, name) {
  for (let folder = place; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${folder === '' ? '' : `${folder}/`}node_modules/${name}`] !== undefined) return true
    if (folder === '') return false
  }
}

function platform(name) {
  const words = name.split(/[/-]/)
  const os = words.find((word) => systems.includes(word))
  const cpu = words.find((word) => processors.includes(word))
  if (os === undefined || cpu === undefined) throw new Error(`cannot tell the platform of ${name}: add its entry by hand`)
  const libc = words.map((word) => libraries[word]).find((library) => library !== undefined)
  return { cpu: [cpu], ...(libc === undefined || os !== 'linux' ? {} : { libc: [libc] }), os: [os] }
}
