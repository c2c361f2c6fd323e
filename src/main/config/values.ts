/** The forms of settings: each reads one text into a value, or says what it must be. Pure. */
import { isIP } from 'node:net'
import { parseDatabaseUrl } from '../../shared/database-url.ts'
import { GIB, KIB, MIB, TIB } from '../../shared/limits.ts'

/** A value, or what the text must be instead. */
export type Read<T> = { value: T } | { must: string }

export function integer(text: string, least: number, most: number): Read<number> {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  return value >= least && value <= most ? { value } : { must: `a whole number from ${least} to ${most}` }
}

export function boolean(text: string): Read<boolean> {
  const value = { true: true, '1': true, false: false, '0': false }[text.toLowerCase()]
  return value === undefined ? { must: 'true or false' } : { value }
}

export function oneOf<T extends string>(text: string, choices: readonly T[]): Read<T> {
  const value = choices.find((choice) => choice === text)
  return value === undefined ? { must: choices.join(' or ') } : { value }
}

const UNITS: Record<string, number> = {
  '': 1, b: 1, k: KIB, kb: 1000, kib: KIB, m: MIB, mb: 1e6, mib: MIB, g: GIB, gb: 1e9, gib: GIB, t: TIB, tb: 1e12, tib: TIB,
}

/** Bytes: `536870912`, `512MiB`, `2G`, `1.5GB`. K, M, G, T alone are powers of 1024. */
export function bytes(text: string, least: number): Read<number> {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([a-z]*)$/i.exec(text)
  const unit = match && UNITS[match[2]!.toLowerCase()]
  const value = match && unit ? Math.floor(Number(match[1]) * unit) : Number.NaN
  if (value >= least && Number.isSafeInteger(value)) return { value }
  return { must: `a size such as 512MiB or 2GiB, at least ${least / MIB}MiB` }
}

/** `host:port`, `[v6]:port` or `:port` (all interfaces). Port 0 takes a free one. */
export function hostPort(text: string): Read<{ host: string; port: number }> {
  const must = { must: 'host:port, such as 0.0.0.0:9000 or [::]:9000' }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/.exec(text)
  if (!match) return must
  const port = Number(match[3])
  return port > 65535 ? must : { value: { host: match[1] ?? (match[2] || '0.0.0.0'), port } }
}

const MULTIADDR = /^\/(ip4|ip6|dns|dns4|dns6)\/([A-Za-z0-9:._-]{1,253})\/udp\/(\d{1,5})\/quic-v1(?:\/p2p\/([1-9A-HJ-NP-Za-km-z]{20,80}))?$/
const ANY_HOST = new Set(['0.0.0.0', '::'])

/** A QUIC multiaddr. `bind`: an address of this host, without a peer id; port 0 takes a free one. `dial`: what others can reach. */
export function multiaddr(text: string, use: 'bind' | 'dial'): Read<string> {
  const [, family = '', host = '', port = '', peer] = MULTIADDR.exec(text) ?? []
  const hostFits = family.startsWith('dns') ? !host.includes(':') : family !== '' && isIP(host) === Number(family.slice(2))
  const fits = use === 'bind' ? !family.startsWith('dns') && peer === undefined : Number(port) > 0 && !ANY_HOST.has(host)
  if (hostFits && fits && Number(port) <= 65535) return { value: text }
  return use === 'bind'
    ? { must: 'a multiaddr of this host, such as /ip4/0.0.0.0/udp/7443/quic-v1' }
    : { must: 'multiaddrs that peers can reach, separated by commas, such as /ip4/192.0.2.1/udp/7443/quic-v1 or /dns/host/udp/7443/quic-v1/p2p/ID' }
}

/** What a node joins by: a QUIC multiaddr that others can reach, or a list of them in the name service. */
export function bootstrapAddr(text: string): Read<string> {
  if (/^\/dnsaddr\/[A-Za-z0-9._-]{1,244}(?:\/p2p\/[1-9A-HJ-NP-Za-km-z]{20,80})?$/.test(text)) return { value: text }
  const one = multiaddr(text, 'dial')
  return 'value' in one ? one : { must: `${one.must}, or /dnsaddr/NAME` }
}

/** A comma-separated list; blanks around the items do not count, empty items are dropped. */
export const list = (text: string): string[] => text.split(',').map((item) => item.trim()).filter((item) => item !== '')

/** A comma-separated list in which every item must read; the first that does not decides. */
export function listOf<T>(text: string, read: (item: string) => Read<T>): Read<T[]> {
  const values: T[] = []
  for (const item of list(text)) {
    const one = read(item)
    if ('must' in one) return one
    values.push(one.value)
  }
  return { value: values }
}

export function databaseUrl(text: string): Read<string> {
  return parseDatabaseUrl(text)
    ? { value: text }
    : { must: 'a URL such as postgresql://user:password@host:5432/database, special characters of the password percent-encoded' }
}

export function webUrl(text: string): Read<string> {
  const url = URL.canParse(text) ? new URL(text) : null
  const fits = url !== null && (url.protocol === 'http:' || url.protocol === 'https:') && url.pathname === '/' && url.search === ''
  return fits ? { value: url.origin } : { must: 'a URL such as http://host:50051 or https://host:50051' }
}

export function erasureCode(text: string): Read<'auto' | { k: number; m: number }> {
  if (text === 'auto') return { value: 'auto' }
  const match = /^(\d{1,2})\+(\d{1,2})$/.exec(text)
  const k = Number(match?.[1])
  const m = Number(match?.[2])
  if (match && k >= 1 && k <= 16 && m >= 1 && m <= 8) return { value: { k, m } }
  return { must: 'auto, or K+M with K from 1 to 16 and M from 1 to 8, such as 4+2' }
}

export function regionName(text: string): Read<string> {
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)
    ? { value: text }
    : { must: 'lower-case letters, digits and dashes, at most 63, such as eu-west-1' }
}

export function domain(text: string): Read<string> {
  return /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/i.test(text)
    ? { value: text.toLowerCase() }
    : { must: 'a domain name such as s3.example.org, without scheme and port' }
}
