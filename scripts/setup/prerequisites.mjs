/** What must be on the machine already. What is missing is named with the command that installs it. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { SetupFailure } from './failure.mjs'
import { environment } from './run.mjs'
import { root } from './paths.mjs'

const MINIMUM_NODE = 20
const installers = [
  { tool: 'apt-get', compiler: 'apt-get install -y build-essential' },
  { tool: 'dnf', compiler: 'dnf install -y gcc make' },
  { tool: 'zypper', compiler: 'zypper install -y gcc make' },
  { tool: 'pacman', compiler: 'pacman -S --needed base-devel' },
]

export function checkHost() {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw new SetupFailure(`Anvil runs on Linux on x64 and arm64, not on ${process.platform} on ${process.arch}.`)
  }
  const major = Number(process.versions.node.split('.')[0])
  if (major < MINIMUM_NODE) {
    throw new SetupFailure(`Node.js ${MINIMUM_NODE} or newer is needed to set Anvil up; this is ${process.version} (${process.execPath}).`)
  }
  if (glibcVersion() === null) throw new SetupFailure('Anvil needs a Linux with glibc (this one has musl): use Debian, Ubuntu, Fedora or the like.')
}

export function checkNpm() {
  if (!has('npm')) throw new SetupFailure('npm is missing: it comes with Node.js; on Debian and Ubuntu: sudo apt-get install -y npm')
}

export function checkCompilers() {
  const missing = []
  if (!has('cc')) missing.push(`a C compiler (cc): ${sudo()}${installers.find(({ tool }) => has(tool))?.compiler ?? 'install gcc'}`)
  if (!has('cargo')) missing.push("Rust (cargo): curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y")
  else {
    const found = rustVersion()
    const wanted = wantedRust()
    if (!atLeast(found, wanted)) missing.push(`Rust ${wanted.join('.')} or newer (found ${found.join('.')}): rustup update stable`)
  }
  if (missing.length > 0) throw new SetupFailure(`to build Anvil, this machine still needs\n${missing.map((line) => `  - ${line}`).join('\n')}`)
}

/** `[major, minor]` of the C library that this process runs on, null where it is not glibc. */
export function glibcVersion() {
  process.report.excludeNetwork = true // newer Nodes: no name look-ups for a report that nobody reads
  const version = process.report.getReport().header.glibcVersionRuntime
  return version === undefined ? null : version.split('.').map(Number)
}

export function atLeast([major, minor], [wantedMajor, wantedMinor]) {
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

function has(tool) {
  return environment()
    .PATH.split(path.delimiter)
    .some((entry) => entry !== '' && isExecutable(path.join(entry, tool)))
}

function isExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false // not there, or not ours to run: for the search that is the same
  }
}

function sudo() {
  return process.getuid() === 0 ? '' : 'sudo '
}

function rustVersion() {
  const { stdout, stderr, status } = spawnSync('cargo', ['--version'], { env: environment(), encoding: 'utf8', cwd: root })
  const match = /cargo (\d+)\.(\d+)/.exec(stdout ?? '')
  if (status !== 0 || match === null) throw new SetupFailure(`cargo does not work: ${stderr.trim() || stdout.trim()}`)
  return [Number(match[1]), Number(match[2])]
}

/** The workspace names it once; edition 2024 is the floor. */
function wantedRust() {
  const match = /^rust-version\s*=\s*"(\d+)\.(\d+)/m.exec(fs.readFileSync(path.join(root, 'native', 'Cargo.toml'), 'utf8'))
  return match === null ? [1, 85] : [Number(match[1]), Number(match[2])]
}
