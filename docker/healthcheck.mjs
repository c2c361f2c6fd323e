/** HEALTHCHECK of the image, which has no curl: exit code 0 when the S3 port answers 200 on /-/healthz. */
import http from 'node:http'
import https from 'node:https'

const TIMEOUT_MS = 4000

const bind = /^\[?(.*?)\]?:(\d+)$/.exec(process.env.HTTP_BIND_ADDR?.trim() || '0.0.0.0:9000')
if (bind === null) fail(`HTTP_BIND_ADDR is ${process.env.HTTP_BIND_ADDR}`)
const [, address, port] = bind
const host = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
const tls = Boolean(process.env.ANVIL_TLS_CERT_FILE?.trim())

// The certificate is for the clients' name of this host, not for the address that is asked here.
const options = { host, port, path: '/-/healthz', timeout: TIMEOUT_MS, rejectUnauthorized: false }
const request = (tls ? https : http).get(options, (response) => {
  if (response.statusCode !== 200) fail(`/-/healthz answered ${response.statusCode}`)
  process.exit(0)
})
request.on('timeout', () => fail(`no answer within ${TIMEOUT_MS} ms`))
request.on('error', (error) => fail(error.message))

function fail(message) {
  console.error(message)
  process.exit(1)
}
