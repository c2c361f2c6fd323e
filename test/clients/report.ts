/** The table of results, on the terminal and in docs/clients.md. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

export interface Result {
  client: string
  scenario: string
  /** Label of the server it ran against: a column. */
  server: string
  outcome: 'pass' | 'FAIL' | 'skipped'
  /** Why it failed or was skipped. */
  detail: string
  seconds: number
}

export function printTable(results: Result[]): void {
  for (const line of table(results)) console.log(line)
}

export function writeReport(results: Result[], versions: Record<string, string>): void {
  const file = path.resolve(import.meta.dirname, '../../docs/clients.md')
  const failures = results.filter(({ outcome }) => outcome !== 'pass')
  const lines = [
    '# Clients that work with Anvil',
    '',
    'Written by `npm run test:clients`, which installs the clients, starts Anvil with one and with six drives, and checks every byte. `npm run test:clients -- rclone` runs one client; ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY point it at a server that runs already (and then leave this file alone).',
    '',
    `Last run: ${new Date().toISOString().slice(0, 10)}, ${os.type()} on ${os.arch()}, ${os.cpus().length} cores, Node ${process.versions.node}.`,
    '',
    `Versions: ${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')}.`,
    '',
    ...table(results),
    ...(failures.length === 0 ? [] : ['', '## What did not pass', '', ...failures.map(({ client, scenario, server, outcome, detail }) => `- ${client}, ${scenario} (${server}), ${outcome}: ${detail.trim().split('\n').at(-1)}`)]),
    '',
  ]
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, lines.join('\n'))
}

function table(results: Result[]): string[] {
  const servers = [...new Set(results.map(({ server }) => server))]
  const rows = [...new Map(results.map(({ client, scenario }) => [`${client}\0${scenario}`, { client, scenario }])).values()]
  const cell = (client: string, scenario: string, server: string): string => {
    const found = results.find((result) => result.client === client && result.scenario === scenario && result.server === server)
    return found === undefined ? '' : `${found.outcome} (${found.seconds.toFixed(1)} s)`
  }
  return [
    `| client | scenario | ${servers.join(' | ')} |`,
    `|---|---|${servers.map(() => '---|').join('')}`,
    ...rows.map(({ client, scenario }) => `| ${client} | ${scenario} | ${servers.map((server) => cell(client, scenario, server)).join(' | ')} |`),
  ]
}
