/** How commands fail: one line on standard error where the operator can mend it, everything where it is our mistake. */
import { CommanderError } from 'commander'
import { AnvilError } from '../../shared/errors.ts'
import { DeploymentError } from '../directory/deployment.ts'
import { AdminError } from '../directory/admin-error.ts'
import { NoDeploymentError } from '../config/load-node-config.ts'
import { TransferError } from '../metadata/transfer/format.ts'
import { isUnavailable, sqlState } from '../postgres/connection.ts'
import { SchemaError } from '../postgres/migrate.ts'
import { StateInUseError } from '../postgres/state-lock.ts'

/** Settings or the command line are wrong. */
export const EXIT_USAGE = 2
/** The command could not be done. */
export const EXIT_FAILURE = 1

/** Lines are written already; only the exit code is left. */
export class ExitError extends Error {
  override readonly name = 'ExitError'
  readonly code: number

  constructor(code: number) {
    super(`exit with ${code}`)
    this.code = code
  }
}

const FOR_THE_OPERATOR = [AdminError, DeploymentError, NoDeploymentError, SchemaError, StateInUseError, TransferError]

/** Writes what went wrong, and returns the exit code. */
export function report(error: unknown): number {
  if (error instanceof ExitError) return error.code
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE // commander has written it
  if (!(error instanceof Error)) {
    process.stderr.write(`anvil: ${String(error)}\n`)
    return EXIT_FAILURE
  }
  const plain = namesSetting(error) || FOR_THE_OPERATOR.some((kind) => error instanceof kind) || isUnavailable(error) || sqlState(error) !== null || 'syscall' in error
  const text = plain ? withoutSecrets(error.message || String((error as NodeJS.ErrnoException).code)) : (error.stack ?? error.message)
  process.stderr.write(`anvil: ${text}\n`)
  return EXIT_FAILURE
}

/** Whether it says which setting is wrong. */
const namesSetting = (error: Error): boolean => AnvilError.is(error) && /^[A-Z_]+_URL: /.test(error.message)

/** Errors of drivers and systems may quote a URL. */
const withoutSecrets = (text: string): string => text.replace(/\/\/[^/\s@]+@/g, '//***@')
