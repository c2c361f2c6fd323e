/**
 * How this machine reaches the registries of npm and of Rust, and which certificates it trusts: mounted into a build, so
 * that nothing of it stays in an image.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'

/** Options of `buildah bud`. */
export function registrySettings(): string[] {
  const cargoHome = process.env['CARGO_HOME'] ?? path.join(os.homedir(), '.cargo')
  const files: [host: string, image: string][] = [
    [process.env['SSL_CERT_FILE'] ?? CERTIFICATES, CERTIFICATES],
    [npmConfig('userconfig'), '/root/.npmrc'],
    [npmConfig('globalconfig'), '/usr/local/etc/npmrc'],
    [path.join(cargoHome, 'config.toml'), '/usr/local/cargo/config.toml'],
  ]
  return files.filter(([host]) => isFile(host)).flatMap(([host, image]) => ['--volume', `${host}:${image}:ro`])
}

function npmConfig(key: string): string {
  return execFileSync('npm', ['config', 'get', key], { encoding: 'utf8' }).trim()
}

function isFile(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false
}
