import { invalidArgument } from '../errors.ts'
import type { Query } from '../request/query.ts'
import { urlEncode } from '../xml/writer.ts'

export interface ListEncoding {
  /** Applied to every key, prefix, delimiter and marker of the answer. */
  encode: (text: string) => string
  encodingType: 'url' | null
}

/** encoding-type of a listing. @throws S3Error InvalidArgument */
export function listEncoding(query: Query): ListEncoding {
  const type = query.get('encoding-type')
  if (type === undefined || type === '') return { encode: (text) => text, encodingType: null }
  if (type.toLowerCase() !== 'url') throw invalidArgument('Invalid Encoding Method specified in Request', 'encoding-type', type)
  return { encode: urlEncode, encodingType: 'url' }
}
