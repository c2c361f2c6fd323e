/** ListObjectsV2 as reads of all its keys: what is listed has that value, what is left out is absent. */
import { BUCKET, type CheckedStore } from './checked.ts'
import { ABSENT } from './history.ts'

/** One listing of a prefix, page by page; false where nothing was learnt of the last page. */
export async function list(store: CheckedStore, node: number, prefix: string, pageKeys: number): Promise<boolean> {
  let after = ''
  for (;;) {
    const query: Record<string, string> = { 'list-type': '2', prefix, 'max-keys': String(pageKeys), ...(after === '' ? {} : { 'start-after': after }) }
    const answer = await store.ask(node, 'list', { method: 'GET', path: `/${BUCKET}`, query })
    if (answer.status !== 200 || !answer.whole) return false
    const text = answer.body.toString()
    const listed = new Map([...text.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, one]) => [tag(one!, 'Key'), tag(one!, 'ETag').replaceAll(/&quot;|"/g, '')]))
    const truncated = tag(text, 'IsTruncated') === 'true'
    const last = truncated ? [...listed.keys()].at(-1)! : null
    for (const history of store.histories.values()) {
      const { key } = history
      if (!key.startsWith(prefix) || key <= after || (last !== null && key > last)) continue
      const etag = listed.get(key)
      const what = `list of ${prefix} through node ${node}`
      const times = { beganMs: answer.beganMs, endedMs: answer.headMs }
      if (etag === undefined) history.read({ value: ABSENT, what, ...times })
      else {
        const alike = history.writes.filter(({ value }) => value !== ABSENT && [etag, null].includes(store.values.get(value)!.etag))
        // copies may share an ETag, and it is not known before they are answered
        if (alike.length === 0) history.read({ value: NaN, what: `${what} (ETag ${etag})`, ...times })
        else if (alike.length === 1) history.read({ value: alike[0]!.value, what: `${what} (value ${alike[0]!.value})`, ...times })
      }
    }
    if (last === null) return true
    after = last
  }
}

const tag = (text: string, name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1] ?? ''
