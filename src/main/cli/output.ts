/** What commands print: lines and tables for people, JSON for programs. */

export const printLine = (line: string): void => void process.stdout.write(`${line}\n`)

export const printJson = (value: unknown): void => printLine(JSON.stringify(value, null, 2))

/** Rows as a table with the given columns, or as a JSON array of whole rows. */
export function printRows<T extends object>(rows: readonly T[], columns: readonly (keyof T & string)[], { json = false }: { json?: boolean } = {}): void {
  if (json) return printJson(rows)
  for (const line of tableLines(rows, columns)) printLine(line)
}

/** Rows as the lines of a table with the given columns. */
export function tableLines<T extends object>(rows: readonly T[], columns: readonly (keyof T & string)[]): string[] {
  if (rows.length === 0) return ['(none)']
  const cells = [columns.map(heading), ...rows.map((row) => columns.map((column) => cell(row[column])))]
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]!.length)))
  return cells.map((line) => line.map((text, i) => text.padEnd(widths[i]!)).join('  ').trimEnd())
}

/** `driveId` is DRIVE ID, `liveGiB` is LIVE GIB. */
const heading = (column: string): string => column.replace(/(?<=[a-z0-9])[A-Z](?=[a-z])/g, ' $&').toUpperCase()

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']

/** `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1)
  const value = bytes / 1024 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`
}

/** Credentials, which are shown this once. */
export function printCredentials(credentials: { accessKey: string; secretKey: string }, { json = false }: { json?: boolean } = {}): void {
  if (json) return printJson(credentials)
  printLine(`access key  ${credentials.accessKey}`)
  printLine(`secret key  ${credentials.secretKey}`)
  printLine('The secret key is shown only now.')
}

function cell(value: unknown): string {
  if (value instanceof Date) return value.toISOString()
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  return value === null || value === undefined ? '-' : JSON.stringify(value)
}
