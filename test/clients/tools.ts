/** Installs the clients from their registries into a folder of the checkout (ignored by git), once. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { runCommand } from './context.ts'

const pythonPackages = ['awscli==1.46.3', 'boto3==1.44.5', 's3cmd==2.4.0', 'awscrt==0.38.1']
/** Exact versions: what `latest` means differs from day to day and from mirror to mirror. */
const goPrograms = [
  { name: 'rclone', module: 'github.com/rclone/rclone', version: 'v1.76.0', package: 'github.com/rclone/rclone' },
  { name: 'restic', module: 'github.com/restic/restic', version: 'v0.18.1', package: 'github.com/restic/restic/cmd/restic' },
]

export interface Tools {
  program(name: string): string
  versions: Record<string, string>
}

export async function installTools(folder: string): Promise<Tools> {
  const venv = path.join(folder, 'venv')
  const goBin = path.join(folder, 'bin')
  fs.mkdirSync(goBin, { recursive: true })
  await installPython(folder, venv)
  for (const tool of goPrograms) await installGo(folder, goBin, tool)
  const program = (name: string): string => {
    const candidates = [path.join(venv, 'bin', name), path.join(goBin, name), path.join('/usr/bin', name)]
    const found = candidates.find((file) => fs.existsSync(file))
    if (found === undefined) throw new Error(`${name} is not installed`)
    return found
  }
  return { program, versions: readVersions(program) }
}

async function installPython(folder: string, venv: string): Promise<void> {
  const stamp = path.join(venv, 'installed.json')
  const wanted = JSON.stringify(pythonPackages)
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return
  console.log('installing awscli, boto3 and s3cmd from PyPI …')
  await run(folder, 'python3', ['-m', 'venv', venv])
  await run(folder, path.join(venv, 'bin', 'pip'), ['install', '--quiet', ...pythonPackages])
  fs.writeFileSync(stamp, wanted)
}

/** From the Go module proxy; where there is no Go, or the proxy has no such module, from the distribution's packages. */
async function installGo(folder: string, goBin: string, tool: (typeof goPrograms)[number]): Promise<void> {
  const program = path.join(goBin, tool.name)
  const stamp = `${program}.version`
  if (fs.existsSync(program) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === tool.version) return
  console.log(`building ${tool.name} ${tool.version} from the Go module proxy (minutes) …`)
  const module = path.join(folder, 'go', tool.name)
  fs.mkdirSync(module, { recursive: true })
  fs.writeFileSync(path.join(module, 'go.mod'), `module clients/${tool.name}\n\nrequire ${tool.module} ${tool.version}\n`)
  try {
    await run(module, 'go', ['build', '-mod=mod', '-buildvcs=false', '-p', '2', '-o', program, tool.package])
    fs.writeFileSync(stamp, tool.version)
  } catch (error) {
    console.log(`no ${tool.name} from Go (${(error as Error).message.split('\n').slice(0, 2).join(' ')}); trying the distribution's package`)
    if (!fs.existsSync(path.join('/usr/bin', tool.name))) await run(folder, 'apt-get', ['install', '-y', '--no-install-recommends', tool.name])
  }
}

async function run(cwd: string, program: string, args: string[]): Promise<void> {
  await runCommand(program, args, { cwd, env: process.env as Record<string, string>, timeoutMs: 1_800_000 })
}

function readVersions(program: (name: string) => string): Record<string, string> {
  const first = (name: string, args: string[]): string => execFileSync(program(name), args, { encoding: 'utf8' }).split('\n')[0]?.trim() ?? ''
  return {
    'aws CLI': first('aws', ['--version']).split(' ')[0]?.replace('aws-cli/', '') ?? '',
    boto3: first('python', ['-c', 'import boto3; print(boto3.__version__)']),
    rclone: first('rclone', ['version']).replace('rclone v', '').replace('-DEV', ''),
    s3cmd: first('s3cmd', ['--version']).replace('s3cmd version ', ''),
    restic: first('restic', ['version']).split(' ')[1] ?? '',
  }
}
