/**
 * Access tokens: JWTs (RFC 7519) signed with JWT_SECRET (HMAC-SHA256). An app's token comes from AuthService; an
 * administrator's is minted by whoever holds JWT_SECRET, which is the node and the command line on its host.
 */
import { errors, jwtVerify, SignJWT } from 'jose'

export const TOKEN_SECONDS = 3600
/** For one command: it is made anew for each. */
export const ADMIN_TOKEN_SECONDS = 600

const ISSUER = 'anvil'
const ALGORITHM = 'HS256'
/** Clocks of hosts differ. */
const CLOCK_TOLERANCE_SECONDS = 60

export type Role = 'app' | 'admin'

export interface TokenClaims {
  role: Role
  /** The app's client id; of an administrator, who minted it. */
  subject: string
}

export interface VerifiedToken extends TokenClaims {
  /** From then on it is refused, by the wall clock of this process in milliseconds. */
  expiresMs: number
}

/** A token that is not ours, not signed by this secret, or over; for the client. */
export class TokenError extends Error {
  override readonly name = 'TokenError'
}

export async function mintToken(jwtSecret: string, { role, subject }: TokenClaims, seconds: number): Promise<string> {
  return new SignJWT({ role })
    .setProtectedHeader({ alg: ALGORITHM })
    .setIssuer(ISSUER)
    .setSubject(subject)
    .setIssuedAt()
    .setExpirationTime(`${seconds}s`)
    .sign(Buffer.from(jwtSecret))
}

export const expired = (): TokenError => new TokenError('the token has expired')

/** @throws TokenError */
export async function verifyToken(jwtSecret: string, token: string): Promise<VerifiedToken> {
  try {
    const { payload } = await jwtVerify(token, Buffer.from(jwtSecret), {
      issuer: ISSUER, algorithms: [ALGORITHM], requiredClaims: ['exp', 'sub'], clockTolerance: CLOCK_TOLERANCE_SECONDS,
    })
    const role = payload['role']
    if (role !== 'app' && role !== 'admin') throw new TokenError('the token has no role')
    return { role, subject: payload.sub!, expiresMs: (payload.exp! + CLOCK_TOLERANCE_SECONDS) * 1000 }
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw expired()
    if (error instanceof errors.JOSEError) throw new TokenError('the token is not valid here')
    throw error
  }
}
