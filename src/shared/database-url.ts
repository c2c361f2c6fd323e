/** Database URLs in the forms that pg takes: libpq's, with a host, or with the folder of a Unix socket as `?host=/path`. */

export interface DatabaseUrl {
  /** Host with its port, or the socket's folder. Never the user or the password. */
  server: string
  database: string
}

/** null when it is not one. */
export function parseDatabaseUrl(text: string): DatabaseUrl | null {
  try {
    // A user without a host (`//user@/database?host=/run`) is libpq's, but no URL to the URL standard.
    const url = new URL(text.replace('@/', '@socket/'))
    if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') return null
    decodeURIComponent(url.username)
    decodeURIComponent(url.password)
    const database = decodeURIComponent(url.pathname.slice(1))
    const host = url.searchParams.get('host') ?? decodeURIComponent(url.host)
    return database !== '' && host !== '' && url.hash === '' ? { server: host, database } : null
  } catch {
    return null
  }
}
