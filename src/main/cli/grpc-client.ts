/** Anvil's gRPC services for commands: with an administrator's token, minted from JWT_SECRET. */
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { ChannelCredentials, credentials, Metadata, type ServiceError, status as code } from '@grpc/grpc-js'
import { AdminError } from '../directory/admin-error.ts'
import type { ClusterStatus__Output } from '../grpc/generated/anvil/v1/ClusterStatus.ts'
import { ClusterService } from '../grpc/services.ts'
import { ADMIN_TOKEN_SECONDS, mintToken } from '../grpc/tokens.ts'

export interface ClusterClient {
  /** @throws AdminError with a line for people */
  status(timeoutMs: number): Promise<ClusterStatus__Output>
  /** Each change, over the end of tokens. @throws AdminError when the node does not answer any more */
  watch(): AsyncIterable<ClusterStatus__Output>
  renewToken(): Promise<void>
  close(): void
}

export interface ClusterClientOptions {
  url: string
  jwtSecret: string
  caFile?: string | undefined
  /** How long a token holds. @default ADMIN_TOKEN_SECONDS */
  tokenSeconds?: number
}

export async function clusterClient({ url, jwtSecret, caFile, tokenSeconds = ADMIN_TOKEN_SECONDS }: ClusterClientOptions): Promise<ClusterClient> {
  const { target, secure } = parseTarget(url)
  const ca = caFile === undefined ? null : await readFile(caFile)
  const client = new ClusterService(target, secure ? credentials.createSsl(ca) : ChannelCredentials.createInsecure())
  const metadata = new Metadata()
  const renewToken = async (): Promise<void> => {
    const token = await mintToken(jwtSecret, { role: 'admin', subject: `anvil@${hostname()}` }, tokenSeconds)
    metadata.set('authorization', `Bearer ${token}`)
  }
  await renewToken()
  return {
    renewToken,
    status: (timeoutMs) => new Promise((resolve, reject) => {
      client.getStatus({}, metadata, { deadline: Date.now() + timeoutMs }, (error, answer) => {
        if (error !== null) reject(failure(error, url))
        else resolve(answer!)
      })
    }),
    async *watch() {
      let last = ''
      for (let isOver = false; !isOver; ) {
        isOver = true
        let isAnswered = false
        const call = client.watchStatus({}, metadata)
        try {
          for await (const answer of call) {
            isAnswered = true
            const text = JSON.stringify(answer)
            // a new stream begins with the state now, which may be known
            if (text !== last) yield answer as ClusterStatus__Output
            last = text
          }
        } catch (error) {
          // it was good a moment ago: it has expired
          if (!isAnswered || (error as ServiceError).code !== code.UNAUTHENTICATED) throw failure(error as ServiceError, url)
          await renewToken()
          isOver = false
        } finally {
          call.cancel()
        }
      }
    },
    close: () => client.close(),
  }
}

function parseTarget(url: string): { target: string; secure: boolean } {
  const parsed = URL.parse(url.includes('://') ? url : `http://${url}`)
  if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')) throw new AdminError(`--host is ${url}, must be a URL like http://host:50051`)
  const secure = parsed.protocol === 'https:'
  return { target: `${parsed.hostname}:${parsed.port === '' ? (secure ? 443 : 80) : parsed.port}`, secure }
}

function failure(error: ServiceError, url: string): AdminError {
  const why = error.code === code.UNAUTHENTICATED ? `${error.details} (is JWT_SECRET that of the node?)` : error.details || error.message
  return new AdminError(`the node at ${url} did not answer: ${why}`)
}
