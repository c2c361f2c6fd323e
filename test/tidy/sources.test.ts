/** The style that a machine can check. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { generateGrpcTypes } from '../../scripts/generate-grpc-types.mjs'
import { testPatterns } from '../support/runner/stages.ts'
import { files, handWritten, root } from './sources.ts'

const MAX_LINES = 500
const code = handWritten(['src', 'scripts', 'test', 'bench', 'bin', 'native', 'migrations', 'proto', 'docker', '.ci'], ['.ts', '.mjs', '.cjs', '.rs', '.sql', '.proto', '.c', '.py', '.sh', ''])
const here = 'test/tidy/'

test('files have names that say what they hold', () => {
  const vague = /(^|\/|[-_.])(utils?|helpers?|misc|common|stuff)([-_.]|$|\/)/
  assert.deepEqual(code.map(({ file }) => file).filter((file) => vague.test(file)), [])
})

test('nothing is left to do later', () => {
  assert.deepEqual(places(/\b(TODO|FIXME|XXX|HACK)\b/), [])
})

test('files hold one idea', () => {
  const long = code.filter(({ text }) => text.split('\n').length - 1 > MAX_LINES)
  assert.deepEqual(long.map(({ file }) => file), [])
})

test('no error is dropped without a word why', () => {
  assert.deepEqual(places(/catch\s*(\([^)]*\))?\s*\{\s*\}\s*$|\.catch\(\(\) => (\{\s*\}|undefined|null)\)[^/]*$/, ['.ts', '.mjs']), [])
})

test('no test is left focused', () => {
  assert.deepEqual(places(/\b(test|it|describe)\.only\(|\bonly: true\b/, ['.ts']), [])
})

test('every test file belongs to a stage of npm test', () => {
  const forgotten = files(['src', 'test', 'scripts', 'bench'])
    .filter((file) => /\.test\.\w+$/.test(file))
    .filter((file) => !testPatterns.some((pattern) => path.matchesGlob(file, pattern)))
  assert.deepEqual(forgotten, [])
})

test('nothing names a folder of one machine', () => {
  assert.deepEqual(places(/(['"`(\s=])\/(home|root|Users|work)\/\w/), [])
})

test('generated files are as their generator makes them', { skip: process.env['CI'] !== 'true' && 'only where nothing is being edited (CI=true)' }, () => {
  // The setup has just built the addon, which writes its types.
  const generated = ['native/addon/index.d.ts']
  const changed = execFileSync('git', ['-c', 'safe.directory=*', 'diff', '--name-only', '--', ...generated], { cwd: root, encoding: 'utf8' })
  assert.equal(changed, '')
})

test('the types of gRPC messages are as proto/ makes them', () => {
  const fresh = mkdtempSync(path.join(tmpdir(), 'anvil-grpc-types-'))
  try {
    generateGrpcTypes(fresh)
    assert.equal(execFileSync('diff', ['-r', fresh, path.join(root, 'src/main/grpc/generated')], { encoding: 'utf8' }), '')
  } finally {
    rmSync(fresh, { recursive: true })
  }
})

function places(pattern: RegExp, extensions?: string[]): string[] {
  return code
    .filter(({ file }) => !file.startsWith(here) && (extensions === undefined || extensions.includes(path.extname(file))))
    .flatMap(({ file, text }) => text.split('\n').flatMap((line, i) => (pattern.test(line) ? [`${file}:${i + 1}: ${line.trim()}`] : [])))
}
