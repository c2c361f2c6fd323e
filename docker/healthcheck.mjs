/** HEALTHCHECK of the image, which has no curl: exit code 0 when the node answers 200. */
const HEALTH_URL = 'http://127.0.0.1:9000/-/healthz'
const TIMEOUT_MS = 4000

const response = await fetch(HEALTH_URL, { signal: AbortSignal.timeout(TIMEOUT_MS) })
if (!response.ok) {
  console.error(`${HEALTH_URL} answered ${response.status}: ${await response.text()}`)
  process.exit(1)
}
