/** A stamp remembers the content that a step's result was made from. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { root, setupDir } from './paths.mjs'

/** SHA-256 over names and contents of files, and over `extra`. */
export function fingerprint(files, extra = '') {
  const hash = createHash('sha256').update(extra)
  for (const file of [...files].sort()) {
    const content = fs.readFileSync(file)
    hash.update(`\0${path.relative(root, file)}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex')
}

export function readStamp(name) {
  try {
    return fs.readFileSync(path.join(setupDir, `${name}.stamp`), 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return ''
    throw error
  }
}

export function writeStamp(name, value) {
  replaceFile(path.join(setupDir, `${name}.stamp`), value)
}

/** Atomically, since another process may be reading the file, or have it mapped as code. */
export function replaceFile(file, content) {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const temporary = `${file}.${process.pid}`
  fs.writeFileSync(temporary, content)
  fs.renameSync(temporary, file)
}
