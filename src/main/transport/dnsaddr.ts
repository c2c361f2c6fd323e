/**
 * `/dnsaddr/NAME[/p2p/ID]`: the addresses that TXT records of `_dnsaddr.NAME` list as `dnsaddr=MULTIADDR`
 * (https://github.com/multiformats/multiaddr/blob/master/protocols/DNSADDR.md). So the bootstrap addresses of a cluster can
 * be changed in one place.
 */
import { resolveTxt } from 'node:dns/promises'
import { parseAddress } from './addresses.ts'
import { PeerRefusal } from './contract.ts'

const FORM = /^\/dnsaddr\/([A-Za-z0-9._-]{1,244})(?:\/p2p\/([1-9A-HJ-NP-Za-km-z]{20,80}))?$/
/** A list may name others. */
const MAX_DEPTH = 3
const MAX_ADDRESSES = 64

export const isDnsaddr = (text: string): boolean => FORM.test(text)

/**
 * Those that can be dialled, in the order of the records; with an id only what ends with it.
 * @param txt of a name, the strings of each record
 * @throws PeerRefusal when there is none
 */
export async function resolveDnsaddr(text: string, txt: (name: string) => Promise<string[][]> = resolveTxt): Promise<string[]> {
  const found = await listed(text, txt, MAX_DEPTH)
  if (found.length === 0) throw new PeerRefusal('unreachable', 'its TXT records name no address of a peer')
  return [...new Set(found)].slice(0, MAX_ADDRESSES)
}

async function listed(text: string, txt: (name: string) => Promise<string[][]>, depth: number): Promise<string[]> {
  const [, name = '', id] = FORM.exec(text) ?? []
  if (name === '' || depth === 0) return []
  let records: string[][]
  try {
    records = await txt(`_dnsaddr.${name}`)
  } catch (error) {
    throw new PeerRefusal('unreachable', `_dnsaddr.${name} has no TXT record: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { cause: error })
  }
  const entries = records.map((parts) => /^dnsaddr=(.*)$/.exec(parts.join(''))?.[1] ?? '')
    .filter((entry) => id === undefined || entry.endsWith(`/p2p/${id}`)).slice(0, MAX_ADDRESSES)
  return (await Promise.all(entries.map(async (entry) => (isDnsaddr(entry) ? listed(entry, txt, depth - 1) : parseAddress(entry) === null ? [] : [entry])))).flat()
}
