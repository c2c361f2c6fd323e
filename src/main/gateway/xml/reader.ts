/**
 * A small strict reader for the XML that S3 requests carry: elements, attributes, text, CDATA and comments. No DOCTYPE, no
 * entities but the five of XML and numeric ones, no processing instruction but the declaration: nothing that can expand or
 * reach outside. Namespaces are read and dropped, as S3 takes requests with and without its own.
 */
import { MAX_XML_BODY_BYTES, MAX_XML_DEPTH } from '../../../shared/limits.ts'
import { malformedXml } from '../errors.ts'

export interface XmlElement {
  /** Without its namespace prefix. */
  name: string
  children: XmlElement[]
  /** All text directly inside, unescaped. */
  text: string
}

/** More elements than any document of S3's has (DeleteObjects: 1000 objects of five elements; Complete: 10000 parts of up to eight). */
const MAX_ELEMENTS = 100_000

const utf8 = new TextDecoder('utf-8', { fatal: true })
const nameForm = /[A-Za-z_][A-Za-z0-9_.-]*(?::[A-Za-z_][A-Za-z0-9_.-]*)?/y
const attributeForm = /\s+([A-Za-z_][A-Za-z0-9_.:-]*)\s*=\s*(?:"([^<"]*)"|'([^<']*)')/y
const spaceForm = /\s*/y

/** The root element. @throws S3Error MalformedXML */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.length > MAX_XML_BODY_BYTES) throw malformedXml()
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    throw malformedXml()
  }
  // XML 1.0 §2.11: line ends are one line feed.
  return new Reader(text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text).document()
}

class Reader {
  readonly #text: string
  #at = 0
  #elements = 0

  constructor(text: string) {
    this.#text = text
  }

  document(): XmlElement {
    if (this.#text.startsWith('<?xml') && /\s/.test(this.#text[5] ?? '')) this.#skipPast('?>')
    this.#misc()
    const root = this.#element(1)
    this.#misc()
    if (this.#at !== this.#text.length) throw malformedXml()
    return root
  }

  /** White space and comments outside the root. */
  #misc(): void {
    for (;;) {
      this.#match(spaceForm)
      if (!this.#text.startsWith('<!--', this.#at)) return
      this.#comment()
    }
  }

  #element(depth: number): XmlElement {
    if (depth > MAX_XML_DEPTH || ++this.#elements > MAX_ELEMENTS) throw malformedXml()
    this.#expect('<')
    const qualified = this.#match(nameForm) ?? fail()
    const seen = new Set<string>()
    for (let attribute = this.#match(attributeForm, 1); attribute !== undefined; attribute = this.#match(attributeForm, 1)) {
      if (seen.has(attribute)) throw malformedXml()
      seen.add(attribute)
    }
    this.#match(spaceForm)
    const element: XmlElement = { name: qualified.slice(qualified.indexOf(':') + 1), children: [], text: '' }
    if (this.#accept('/>')) return element
    this.#expect('>')
    this.#content(element, depth)
    if (this.#match(nameForm) !== qualified) throw malformedXml()
    this.#match(spaceForm)
    this.#expect('>')
    return element
  }

  /** Up to and including the `</` of the end tag. */
  #content(element: XmlElement, depth: number): void {
    for (;;) {
      const next = this.#text.indexOf('<', this.#at)
      if (next === -1) throw malformedXml()
      if (next > this.#at) {
        element.text += unescapeText(this.#text.slice(this.#at, next))
        this.#at = next
      }
      if (this.#accept('</')) return
      if (this.#text.startsWith('<!--', next)) {
        this.#comment()
      } else if (this.#accept('<![CDATA[')) {
        const start = this.#at
        this.#skipPast(']]>')
        element.text += checked(this.#text.slice(start, this.#at - 3))
      } else {
        element.children.push(this.#element(depth + 1))
      }
    }
  }

  #comment(): void {
    this.#at += 4
    const end = this.#text.indexOf('--', this.#at)
    if (end === -1 || this.#text[end + 2] !== '>') throw malformedXml()
    this.#at = end + 3
  }

  #skipPast(end: string): void {
    const found = this.#text.indexOf(end, this.#at)
    if (found === -1) throw malformedXml()
    this.#at = found + end.length
  }

  #match(form: RegExp, group = 0): string | undefined {
    form.lastIndex = this.#at
    const match = form.exec(this.#text)
    if (match === null) return undefined
    this.#at = form.lastIndex
    return match[group]
  }

  #accept(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #expect(text: string): void {
    if (!this.#accept(text)) throw malformedXml()
  }
}

function fail(): never {
  throw malformedXml()
}

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function unescapeText(raw: string): string {
  checked(raw)
  if (!raw.includes('&')) return raw
  // Every ampersand must begin a reference, so that what is not one is an error and not text.
  return raw.replace(/&(?:([a-z]+);|#(\d{1,7});|#x([0-9A-Fa-f]{1,6});)?/g, (_all, name?: string, decimal?: string, hex?: string) => {
    if (name !== undefined) return entities[name] ?? fail()
    if (decimal === undefined && hex === undefined) return fail()
    const code = decimal === undefined ? Number.parseInt(hex!, 16) : Number.parseInt(decimal, 10)
    // NUL cannot be in a key; lone surrogates are not characters. Other control characters are, to S3.
    if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return fail()
    return String.fromCodePoint(code)
  })
}

/** Text may not hold raw control characters (XML 1.0 §2.2) nor the end of a CDATA section. */
function checked(raw: string): string {
  // oxlint-disable-next-line no-control-regex
  if (/[\x00-\x08\x0b\x0c\x0e-\x1f]/.test(raw)) throw malformedXml()
  return raw
}

/** The only child of that name, or undefined. @throws S3Error MalformedXML when there is more than one */
export function child(parent: XmlElement, name: string): XmlElement | undefined {
  const found = parent.children.filter((element) => element.name === name)
  if (found.length > 1) throw malformedXml()
  return found[0]
}

/** Its text, white space at both ends removed unless `exact` (keys are taken exactly). */
export function childText(parent: XmlElement, name: string, exact = false): string | undefined {
  const found = child(parent, name)
  if (found === undefined) return undefined
  if (found.children.length > 0) throw malformedXml()
  return exact ? found.text : found.text.trim()
}
