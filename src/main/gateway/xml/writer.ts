/** Writes S3's XML: elements of text and of elements, nothing else. */

export const S3_NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
export const XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

/** A document whose root is in S3's namespace. */
export const s3Document = (root: string, content: string): string =>
  `${XML_DECLARATION}<${root} xmlns="${S3_NAMESPACE}">${content}</${root}>`

/** An element with text; nothing at all when the text is null. */
export const element = (name: string, text: string | number | boolean | null | undefined): string =>
  text === null || text === undefined ? '' : `<${name}>${typeof text === 'string' ? escapeText(text) : String(text)}</${name}>`

/** An element whose content is XML already. */
export const parent = (name: string, content: string): string => `<${name}>${content}</${name}>`

/**
 * Characters that XML 1.0 cannot hold (most control characters) become numeric references, as S3 writes them: strict
 * readers refuse them, and clients that have such keys ask for encoding-type=url.
 */
export function escapeText(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return /[&<>"\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]/.test(text) ? text.replace(special, reference) : text
}

// oxlint-disable-next-line no-control-regex
const special = /[&<>"\x00-\x09\x0b-\x1f\x7f-\x9f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

function reference(character: string): string {
  switch (character) {
    case '&':
      return '&amp;'
    case '<':
      return '&lt;'
    case '>':
      return '&gt;'
    case '"':
      return '&quot;'
    default:
      return `&#x${character.charCodeAt(0).toString(16)};`
  }
}

/** Dates in XML: ISO 8601 with milliseconds, which S3 sends as zero. */
export const isoSeconds = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}.000Z`

/** encoding-type=url: everything but unreserved characters and `/`, as UTF-8 in percent signs. */
export const urlEncode = (text: string): string =>
  encodeURIComponent(text.toWellFormed()).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`).replaceAll('%2F', '/')
