/** What a newcomer needs once the node serves: where it is, how to sign, and what to try. */
import { isatty } from 'node:tty'
import type { Config } from '../config/contract.ts'
import type { RunningNode } from '../node.ts'

export function welcome(config: Config, { port, databases }: RunningNode): void {
  const text = welcomeText(config, port, databases)
  // Not into a log of JSON lines.
  const stream = isatty(1) ? process.stdout : process.stderr
  stream.write(text)
}

export function welcomeText(config: Config, port: number, databases: Pick<RunningNode['databases'], 'firstApp' | 'embedded'>): string {
  const host = config.http.host === '0.0.0.0' || config.http.host === '::' ? 'localhost' : config.http.host
  const endpoint = `${config.tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  const { firstApp } = databases
  const lines = ['', `  S3 endpoint   ${endpoint}   region ${config.region}`, `  data          ${config.dataDirs.join(', ') || 'none: this node is a gateway to the drives of others'}`]
  if (databases.embedded) lines.push(`  metadata      ${config.stateDir}/postgres (embedded Postgres)`)
  if (firstApp?.created) {
    lines.push(`  access key    ${firstApp.accessKey}`, `  secret key    ${firstApp.secretKey}`)
    lines.push(firstApp.file ? `                printed this once; kept in ${firstApp.file}` : '                as set by ANVIL_BOOTSTRAP_SECRET_KEY')
  } else if (firstApp?.file) {
    lines.push(`  access key    ${firstApp.accessKey}`, `  secret key    in ${firstApp.file}`)
  }
  return [...lines, '', ...toTry(config, endpoint, firstApp), ''].join('\n')
}

function toTry(config: Config, endpoint: string, firstApp: RunningNode['databases']['firstApp']): string[] {
  const access = firstApp?.accessKey ?? 'ACCESS_KEY'
  const secret = firstApp?.created ? firstApp.secretKey : 'SECRET_KEY'
  return [
    '  To try:',
    `    export AWS_ACCESS_KEY_ID=${access} AWS_SECRET_ACCESS_KEY=${secret} AWS_REGION=${config.region} AWS_ENDPOINT_URL=${endpoint}`,
    '    aws s3 mb s3://photos && aws s3 cp README.md s3://photos/ && aws s3 ls s3://photos',
    `    rclone lsd ":s3,provider=Other,env_auth=true,endpoint='${endpoint}',region=${config.region}:"`,
    `    curl -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:${config.region}:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" ${endpoint}/`,
    '',
  ]
}
