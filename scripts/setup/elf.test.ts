import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { weakenNewerGlibc } from './elf.mjs'

const library = path.resolve(import.meta.dirname, `../../node_modules/uWebSockets.js/uws_linux_${process.arch}_137.node`)

test('marks exactly the versions that are newer than the host, and changes one bit for each', () => {
  const original = fs.readFileSync(library)
  const patched = Buffer.from(original)
  assert.deepEqual(weakenNewerGlibc(patched, [2, 36]), ['GLIBC_2.38'])
  const changed = [...patched.keys()].filter((i) => patched[i] !== original[i])
  assert.deepEqual(changed.map((i) => (patched[i] ?? 0) ^ (original[i] ?? 0)), [0x2])
})

test('leaves a library alone that the host can load', () => {
  const original = fs.readFileSync(library)
  const patched = Buffer.from(original)
  assert.deepEqual(weakenNewerGlibc(patched, [2, 41]), [])
  assert.ok(patched.equals(original))
})

test('refuses what is no ELF file', () => {
  assert.throws(() => weakenNewerGlibc(Buffer.from('#!/bin/sh\n'), [2, 36]), /not a 64-bit/)
})
