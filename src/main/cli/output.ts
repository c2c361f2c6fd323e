/** What commands print: lines and tables for people, JSON for programs. */

export const printLine = (line: string): void => void process.stdout.write(`${line}\n`)

export const printJson = (value: unknown): void => printLine(JSON.stringify(value, null, 2))

/** Rows as a table with the given columns, or as a JSON array of whole rows. */
export function printRows<T extends object>(rows: readonly T[], columns: readonly (keyof T & string)[], { json = false }: { json?: boolean } = {}): void {
  if (json) return printJson(rows)
  if (rows.length === 0) return printLine('(none)')
  const cells = [columns.map((column) => column.replace(/[A-Z]/g, ' $&').toUpperCase()), ...rows.map((row) => columns.map((column) => cell(row[column])))]
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]!.length)))
  for (const line of cells) printLine(line.map((text, i) => text.padEnd(widths[i]!)).join('  ').trimEnd())
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
