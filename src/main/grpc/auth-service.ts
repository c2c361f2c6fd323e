/** AuthService: an app's credentials for a token. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import type { Directory } from '../directory/contract.ts'
import { RpcError } from './errors.ts'
import type { AuthServiceHandlers } from './generated/anvil/v1/AuthService.ts'
import { mintToken, TOKEN_SECONDS } from './tokens.ts'
import { unary } from './unary.ts'

export interface AuthServiceOptions {
  directory: Pick<Directory, 'app'>
  jwtSecret: string
  logger: Logger
}

const MAX_CREDENTIAL_CHARS = 1024

export function authService({ directory, jwtSecret, logger }: AuthServiceOptions): AuthServiceHandlers {
  const token = async (clientId: string, clientSecret: string): Promise<string> => {
    if (clientId === '' || clientSecret === '') throw new RpcError(status.INVALID_ARGUMENT, 'client_id and client_secret are needed')
    if (clientId.length > MAX_CREDENTIAL_CHARS || clientSecret.length > MAX_CREDENTIAL_CHARS) throw notKnown()
    const app = await directory.app(clientId)
    // one comparison more for an app that is not there, so that time does not tell
    const secrets = app === null || app.disabled ? [''] : app.secrets
    const matches = secrets.map((secret) => same(secret, clientSecret)).includes(true)
    if (app === null || app.disabled || !matches) throw notKnown()
    return mintToken(jwtSecret, { role: 'app', subject: clientId }, TOKEN_SECONDS)
  }
  return {
    GetAccessToken: unary(logger, async ({ request }) => ({
      accessToken: await token(request.clientId, request.clientSecret), expiresInSeconds: TOKEN_SECONDS,
    })),
  }
}

const notKnown = (): RpcError => new RpcError(status.UNAUTHENTICATED, 'client id or secret are not right')

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
const same = (a: string, b: string): boolean => timingSafeEqual(digest(a), digest(b))
