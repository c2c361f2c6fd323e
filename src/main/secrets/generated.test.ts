import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { generateSecrets, keepSecrets, readSecrets, secretsFile } from './generated.ts'
import { createPrivateFile, readPrivateFile, writePrivateFile } from './private-file.ts'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'anvil-secrets-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

test('secrets are made once, and for their owner alone', (t) => {
  const stateDir = join(folder(t), 'state')
  assert.equal(readSecrets(stateDir), null)
  const kept = keepSecrets(stateDir, generateSecrets())
  assert.deepEqual(keepSecrets(stateDir, generateSecrets()), kept)
  assert.deepEqual(readSecrets(stateDir), kept)
  assert.equal(statSync(secretsFile(stateDir)).mode & 0o777, 0o600)
  assert.equal(statSync(stateDir).mode & 0o777, 0o700)
  assert.deepEqual(readdirSync(stateDir), ['secrets.json'])
})

test('a damaged file is an error, never new secrets', (t) => {
  const stateDir = folder(t)
  for (const text of ['', '{}', '{"jwtSecret":"x"}', 'nonsense']) {
    writeFileSync(secretsFile(stateDir), text)
    assert.throws(() => keepSecrets(stateDir, generateSecrets()), /damaged/)
  }
})

test('a private file is made whole, or not at all', (t) => {
  const path = join(folder(t), 'f')
  assert.ok(createPrivateFile(path, 'a'))
  assert.ok(!createPrivateFile(path, 'b'))
  assert.equal(readPrivateFile(path), 'a')
  chmodSync(path, 0o644)
  writePrivateFile(path, 'c')
  assert.equal(readPrivateFile(path), 'c')
  assert.equal(statSync(path).mode & 0o777, 0o600)
})
