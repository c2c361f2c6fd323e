/** A gateway over the in-memory store on a port of its own, with clients. */
import assert from 'node:assert/strict'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { createGateway, type Gateway, type GatewayOptions } from '../../../src/main/gateway/index.ts'
import { MemoryDirectory } from './memory-directory.ts'
import { MemoryStore } from './memory-store.ts'

export const ACCESS_KEY = 'AKIDTEST00000000'
export const SECRET_KEY = 'secret/of+the/tests'

export interface Harness {
  gateway: Gateway
  directory: MemoryDirectory
  store: MemoryStore
  port: number
  endpoint: string
  /** Every line logged, for tests that nothing secret is in them. */
  lines: { level: string; fields: object; message: string }[]
  client(config?: S3ClientConfig): S3Client
  /** Drains, and asserts that nothing was left open. */
  stop(): Promise<void>
}

export async function startHarness(options: Partial<GatewayOptions> = {}): Promise<Harness> {
  const directory = new MemoryDirectory()
  directory.addApp(ACCESS_KEY, ['a newer secret', SECRET_KEY])
  const store = new MemoryStore(directory)
  const lines: Harness['lines'] = []
  const log = (level: string) => (fields: object, message: string): void => {
    lines.push({ level, fields, message })
  }
  const gateway = createGateway({
    store, directory, region: 'local', listen: { host: '127.0.0.1', port: 0 }, tls: null, s3Domain: 's3.test',
    logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
    ...options,
  })
  const { port } = await gateway.listen()
  const endpoint = `${options.tls == null ? 'http' : 'https'}://127.0.0.1:${port}`
  const clients: S3Client[] = []
  return {
    gateway, directory, store, port, endpoint, lines,
    client(config = {}) {
      const client = new S3Client({
        endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY }, ...config,
      })
      clients.push(client)
      return client
    },
    async stop() {
      for (const client of clients) client.destroy()
      await gateway.drain(2_000)
      assert.equal(store.openSinks, 0, 'a sink was neither finished nor aborted')
      assert.equal(store.openSources, 0, 'a source was not closed')
      assert.equal(gateway.counters().active, 0, 'a request was left over')
      const text = JSON.stringify(lines, (_key, value: unknown) => (value instanceof Error ? `${value.message} ${value.stack ?? ''}` : value))
      assert.ok(!text.includes(SECRET_KEY), 'a secret was logged')
    },
  }
}
