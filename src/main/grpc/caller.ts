/** Who calls: the token in `authorization: Bearer TOKEN`. */
import { type Metadata, status } from '@grpc/grpc-js'
import { RpcError } from './errors.ts'
import { verifyToken, type VerifiedToken } from './tokens.ts'

/** @throws RpcError UNAUTHENTICATED, TokenError */
export async function callerOf(metadata: Metadata, jwtSecret: string): Promise<VerifiedToken> {
  const header = metadata.get('authorization')[0]
  const token = typeof header === 'string' ? /^bearer +(\S+)$/i.exec(header)?.[1] : undefined
  if (token === undefined) throw new RpcError(status.UNAUTHENTICATED, 'the call needs the metadata authorization: Bearer TOKEN')
  return verifyToken(jwtSecret, token)
}

/** @throws RpcError UNAUTHENTICATED, PERMISSION_DENIED */
export async function requireAdministrator(metadata: Metadata, jwtSecret: string): Promise<VerifiedToken> {
  const caller = await callerOf(metadata, jwtSecret)
  if (caller.role !== 'admin') throw new RpcError(status.PERMISSION_DENIED, 'only administrators may do this')
  return caller
}
