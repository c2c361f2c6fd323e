/** Looks now and then which placement groups with data a single loss would endanger, as the drives are at that moment. */
import type { PgId } from '../../shared/ids.ts'
import type { ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { Logger } from '../observability/logger.ts'
import { lossRisk, type LossRisk, type ReadableDrive } from '../placement/loss-risk.ts'

export interface RedundancyOptions {
  metadata: Pick<ObjectMetadata, 'placementGroups' | 'blobsOfGroup'>
  /** Drives that can be read now. */
  readable(): readonly ReadableDrive[]
  logger: Logger
  /** How often it is seen whether drives came or went. @default 5 s */
  everyMs?: number
}

const EVERY_MS = 5000
/** While no drive comes or goes, what is at risk changes slowly, and the groups are many. */
const LOOK_AGAIN_MS = 30_000
const NONE: LossRisk = { unreadable: [], nextDrive: [], unprotected: [], nodes: new Map(), zones: new Map() }
/** Groups that are looked into at a time; more are taken to hold data. */
const MAX_LOOKED_INTO = 200

export class Redundancy {
  readonly #options: RedundancyOptions
  /** Closed groups without a blob: none comes any more. */
  readonly #empty = new Set<PgId>()
  #risk = NONE
  #lookedMs = -Infinity
  #lookedAt = ''
  #timer: NodeJS.Timeout | null = null
  #looking: Promise<void>
  #stopped = false

  constructor(options: RedundancyOptions) {
    this.#options = options
    this.#looking = this.#round()
  }

  /** As of the last look; the database may have been away since. */
  get risk(): LossRisk {
    return this.#risk
  }

  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#looking
  }

  async #round(): Promise<void> {
    try {
      await this.#look()
    } catch (error) {
      this.#options.logger.debug({ err: error }, 'the placement groups could not be looked at')
    }
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#looking = this.#round()
    }, this.#options.everyMs ?? EVERY_MS)
  }

  async #look(): Promise<void> {
    const { metadata, readable } = this.#options
    const now = readable().map(({ driveId, nodeId, zone }) => `${driveId} ${nodeId} ${zone}`).join()
    if (now === this.#lookedAt && performance.now() - this.#lookedMs < LOOK_AGAIN_MS) return
    const all = await metadata.placementGroups()
    const ids = new Set(all.map(({ id }) => id))
    for (const id of this.#empty) if (!ids.has(id)) this.#empty.delete(id)
    const groups = all.filter((group) => !this.#empty.has(group.id))
    const drives = readable()
    const { unreadable, nextDrive, unprotected, nodes, zones } = lossRisk(groups, drives)
    const endangered = new Set<number>([...unreadable, ...nextDrive, ...unprotected, ...[...nodes.values(), ...zones.values()].flat()])
    let looked = 0
    const held: PlacementGroup[] = []
    for (const group of groups) {
      if (!endangered.has(group.id)) continue
      if (looked++ >= MAX_LOOKED_INTO || (await this.#holdsData(group))) held.push(group)
    }
    this.#risk = lossRisk(held, drives)
    this.#lookedAt = now
    this.#lookedMs = performance.now()
  }

  async #holdsData(group: PlacementGroup): Promise<boolean> {
    if ((await this.#options.metadata.blobsOfGroup(group.id, null, 1)).length > 0) return true
    if (group.state === 'closed') this.#empty.add(group.id)
    return false
  }
}
