/** The tree as the tidy tests see it: the files that git tracks or would track. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

export const root = path.resolve(import.meta.dirname, '../..')

export interface Source {
  /** Relative to the repository. */
  file: string
  text: string
}

/** Written by hand: neither generated files nor lock files. */
export function handWritten(folders: string[], extensions: string[]): Source[] {
  return files(folders)
    .filter((file) => extensions.includes(path.extname(file)) && !file.includes('/generated/'))
    .map((file) => ({ file, text: fs.readFileSync(path.join(root, file), 'utf8') }))
}

export function files(folders: string[]): string[] {
  const listed = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...folders], { cwd: root, encoding: 'utf8' })
  return listed.split('\0').filter((file) => file !== '' && fs.existsSync(path.join(root, file)))
}
