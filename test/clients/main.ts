/**
 * `npm run test:clients [-- CLIENT…]`: real clients against a real Anvil, with one drive and with six. With ENDPOINT,
 * AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set, against that server instead.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { awsCli } from './aws-cli.ts'
import { boto3 } from './boto3.ts'
import { clientEnvironment, type Context, runCommand, type Scenario, type Target } from './context.ts'
import { rclone } from './rclone.ts'
import { printTable, type Result, writeReport } from './report.ts'
import { restic } from './restic.ts'
import { s3cmd } from './s3cmd.ts'
import { sdkJs } from './sdk-js.ts'
import { startServer } from './server.ts'
import { installTools, type Tools } from './tools.ts'

const root = path.resolve(import.meta.dirname, '../..')
const clients: Record<string, Scenario[]> = { 'aws CLI': awsCli, rclone, s3cmd, restic, '@aws-sdk/client-s3': sdkJs }
const names = ['aws CLI', 'boto3', 'rclone', 's3cmd', 'restic', '@aws-sdk/client-s3']

const wanted = process.argv.slice(2)
const chosen = names.filter((name) => wanted.length === 0 || wanted.some((part) => name.toLowerCase().includes(part.toLowerCase())))
const tools = await installTools(path.join(root, '.cache', 'clients'))
const work = await fs.mkdtemp(path.join(os.tmpdir(), 'anvil-clients-'))
await fs.chmod(work, 0o755)
const results: Result[] = []
try {
  const given = givenTarget()
  if (given !== null) await runAll(given, given.endpoint)
  else for (const drives of [1, 6]) await withServer(drives)
} finally {
  await fs.rm(work, { recursive: true, force: true })
}
printTable(results)
if (givenTarget() === null && wanted.length === 0) writeReport(results, { ...tools.versions, '@aws-sdk/client-s3': await sdkVersion() })
const failed = results.filter(({ outcome }) => outcome === 'FAIL').length
console.log(`${results.filter(({ outcome }) => outcome === 'pass').length} passed, ${failed} failed, ${results.filter(({ outcome }) => outcome === 'skipped').length} skipped`)
process.exit(failed === 0 && results.length > 0 ? 0 : 1)

async function withServer(drives: number): Promise<void> {
  const label = drives === 1 ? '1 drive' : `${drives} drives`
  console.log(`starting Anvil with ${label} …`)
  const server = await startServer(path.join(work, `server${drives}`), drives)
  try {
    await runAll(server.target, label)
  } finally {
    await server.stop()
  }
}

async function runAll(target: Target, server: string): Promise<void> {
  for (const client of chosen) {
    if (client === 'boto3') results.push(...(await boto3(target, tools, work, server)))
    else for (const scenario of clients[client] ?? []) results.push(await runScenario(client, scenario, target, server, tools))
  }
}

async function runScenario(client: string, scenario: Scenario, target: Target, server: string, { program }: Tools): Promise<Result> {
  const folder = await fs.mkdtemp(path.join(work, 'scenario-'))
  const context: Context = {
    target,
    program,
    folder,
    bucket: `clients-${randomBytes(6).toString('hex')}`,
    run: (command, args, env = {}) => runCommand(command, args, { cwd: folder, env: { ...clientEnvironment(target, folder), ...env } }),
  }
  const startedMs = performance.now()
  let detail = ''
  try {
    await scenario.run(context)
  } catch (error) {
    detail = (error as Error).message
  }
  const seconds = (performance.now() - startedMs) / 1000
  console.log(`${detail === '' ? '✔' : '✖'} ${client}: ${scenario.name} (${server}, ${seconds.toFixed(1)} s)${detail === '' ? '' : `\n${detail.replace(/^/gm, '    ')}`}`)
  await fs.rm(folder, { recursive: true })
  return { client, scenario: scenario.name, server, outcome: detail === '' ? 'pass' : 'FAIL', detail, seconds }
}

function givenTarget(): Target | null {
  const { ENDPOINT: endpoint, AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey, AWS_REGION: region = 'us-east-1' } = process.env
  if (endpoint === undefined) return null
  if (accessKey === undefined || secretKey === undefined) throw new Error('ENDPOINT needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  return { endpoint, accessKey, secretKey, region }
}

async function sdkVersion(): Promise<string> {
  const manifest = JSON.parse(await fs.readFile(path.join(root, 'node_modules/@aws-sdk/client-s3/package.json'), 'utf8')) as { version: string }
  return manifest.version
}
