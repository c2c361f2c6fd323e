/** The credential of a SigV4 signature, and its scope. */

export interface Credential {
  accessKeyId: string
  /** YYYYMMDD */
  date: string
  region: string
  service: string
  terminator: string
}

/** Null when it has not the form KEY/YYYYMMDD/REGION/SERVICE/aws4_request. Access keys may hold slashes themselves. */
export function parseCredential(text: string): Credential | null {
  const parts = text.split('/')
  if (parts.length < 5) return null
  const [date, region, service, terminator] = parts.slice(-4) as [string, string, string, string]
  const accessKeyId = parts.slice(0, -4).join('/')
  return accessKeyId === '' ? null : { accessKeyId, date, region, service, terminator }
}

export const scopeOf = ({ date, region, service, terminator }: Credential): string => `${date}/${region}/${service}/${terminator}`

/** Milliseconds since the epoch of `YYYYMMDDTHHMMSSZ`; null when it is not such a date. */
export function parseAmzDate(text: string): number | null {
  const match = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(text)
  if (match === null) return null
  const [, year, month, day, hour, minute, second] = match
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(ms) ? null : ms
}

export const formatAmzDate = (ms: number): string => new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '')
