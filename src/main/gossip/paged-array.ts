/**
 * An array in pages that copies share until one of them writes. A node has one table; a simulator gives ten thousand nodes
 * theirs, all alike at first.
 */
const PAGE = 64

export class PagedArray<T> {
  private readonly pages: (T | undefined)[][]
  private readonly own: boolean[]

  constructor(pages: (T | undefined)[][] = []) {
    this.pages = pages
    this.own = []
  }

  get(index: number): T | undefined {
    return this.pages[Math.floor(index / PAGE)]?.[index % PAGE]
  }

  set(index: number, value: T | undefined): void {
    const number = Math.floor(index / PAGE)
    while (this.pages.length <= number) this.pages.push([])
    if (this.own[number] !== true) {
      this.pages[number] = this.pages[number]!.slice()
      this.own[number] = true
    }
    const page = this.pages[number]!
    while (page.length < index % PAGE) page.push(undefined)
    page[index % PAGE] = value
  }

  /** The original must not be written to any more, or the copy sees it. */
  fork(): PagedArray<T> {
    return new PagedArray(this.pages.slice())
  }

  *values(): Generator<T> {
    for (const page of this.pages) for (const value of page) if (value !== undefined) yield value
  }
}
