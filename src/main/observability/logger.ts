/** The node's log: pino's JSON, one line each; readable lines on a terminal. Never a secret. */
import { isatty } from 'node:tty'
import { pino, type Logger } from 'pino'

export type { Logger } from 'pino'

const LEVELS = new Set(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])

/** The least level of a RUST_LOG filter's plain part (`info`, `anvil=debug,warn`): the addon takes the whole filter. */
export function levelOf(filter: string): string {
  for (const directive of filter.split(',')) {
    const level = directive.trim().toLowerCase()
    if (LEVELS.has(level)) return level
  }
  return 'info'
}

/** Names under which a secret could come into a log line by mistake. */
const REDACT = ['secret', 'secrets', 'password', 'authorization', 'connectionString', 'jwtSecret', 'encryptionKeys', '*.secret', '*.secrets', '*.password', '*.authorization', '*.connectionString']

export function createLogger(filter: string): Logger {
  const options = { level: levelOf(filter), redact: { paths: REDACT, censor: '[secret]' }, base: null, timestamp: pino.stdTimeFunctions.isoTime }
  if (!isatty(1)) return pino(options, pino.destination({ fd: 1, sync: true }))
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { translateTime: 'SYS:HH:MM:ss.l', singleLine: true, ignore: 'pid,hostname' } },
  })
}
