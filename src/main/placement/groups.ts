/**
 * The placement groups as this node knows them: which open one a new blob goes to, and what the addon must know of one
 * before it reads or writes a blob in it. The regional database owns the groups; this is a view of it.
 */
import { createHash } from 'node:crypto'
import { AnvilError } from '../../shared/errors.ts'
import type { BlobId, PgId } from '../../shared/ids.ts'
import { PLACEMENT_SLOTS } from '../../shared/limits.ts'
import type { Native } from '../../shared/native.ts'
import type { ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import { chooseErasureCode, type ErasureCode, type PlacementDrive, type PlacementPlan } from './erasure-code.ts'
import { allWinners, slotWinners } from './rendezvous.ts'

/** The drives that new shards may go to, and a number that grows whenever they change. */
export interface DriveView {
  version: number
  drives: readonly PlacementDrive[]
  /** Whether the deployment has ever had two drives: then nothing is written without redundancy. */
  everTwoDrives: boolean
}

export interface PlacementOptions {
  metadata: Pick<ObjectMetadata, 'openPlacementGroup' | 'placementGroup' | 'sealPlacementGroup'>
  native: Pick<Native, 'setPg' | 'forgetPg'>
  view(): DriveView
  erasureCode: 'auto' | ErasureCode
  allowUnprotectedWrites: boolean
  /** A group was sealed by this object: other threads and nodes take no more uploads into it either. */
  sealed?: (id: PgId) => void
}

/** A group taken for one upload. `release` when its row is committed or the upload given up, so that the group can be closed. */
export interface GroupLease {
  group: PlacementGroup
  release(): void
}

/** Relocated blobs that are remembered, the latest found. */
const MAX_RELOCATED = 100_000

export class PlacementGroups {
  readonly #options: PlacementOptions
  /** The open group of each slot under the view of `#slotsVersion`. */
  #slots: (Promise<PlacementGroup> | undefined)[] = []
  /** The group of each slot that is open by now. */
  readonly #slotGroups = new Map<number, PgId>()
  #slotsVersion = -1
  #plan: PlacementPlan | null = null
  /** Of that view; made when they are asked for. */
  #winners: readonly (readonly string[])[] | null = null
  #wanted: WantedGroups | null = null
  /** Of other drives that were asked about last. */
  #wantedOver: { drives: string; wanted: WantedGroups } | null = null
  readonly #known = new Map<PgId, PlacementGroup>()
  readonly #loading = new Map<PgId, Promise<PlacementGroup>>()
  readonly #inUse = new Map<PgId, number>()
  readonly #relocated = new Map<BlobId, PgId>()

  constructor(options: PlacementOptions) {
    this.#options = options
  }

  /** The code that new blobs are written with now, and the failure domain that it keeps; null when no drive lives. */
  get code(): PlacementPlan | null {
    this.#refreshView()
    return this.#plan
  }

  /** Where a blob is whose row in `objects` may name an older group; undefined when it was never found elsewhere. */
  relocated(blobId: BlobId): PgId | undefined {
    return this.#relocated.get(blobId)
  }

  /** A blob was found in another group than its object's row names: the next read looks there first. */
  noteRelocation(blobId: BlobId, pgId: PgId): void {
    this.#relocated.delete(blobId)
    this.#relocated.set(blobId, pgId)
    if (this.#relocated.size > MAX_RELOCATED) this.#relocated.delete(this.#relocated.keys().next().value!)
  }

  /** Groups with an upload of this process in them: they must not be closed. */
  get inUse(): PgId[] {
    return [...this.#inUse.keys()]
  }

  /**
   * The open group that a new blob goes to.
   * @throws AnvilError InsufficientRedundancy, MetadataUnavailable
   */
  async take(blobId: BlobId): Promise<GroupLease> {
    this.#refreshView()
    const slot = Number.parseInt(blobId.slice(24, 28), 16) % PLACEMENT_SLOTS
    const group = await (this.#slots[slot] ??= this.#openSlot(slot))
    this.#inUse.set(group.id, (this.#inUse.get(group.id) ?? 0) + 1)
    let released = false
    return {
      group,
      release: () => {
        if (released) return
        released = true
        const left = this.#inUse.get(group.id)! - 1
        if (left === 0) this.#inUse.delete(group.id)
        else this.#inUse.set(group.id, left)
      },
    }
  }

  /** Makes the addon know a group that an object row names. @throws AnvilError ShardsUnavailable if there is no such group */
  async ensure(id: PgId): Promise<PlacementGroup> {
    return this.#known.get(id) ?? this.reload(id)
  }

  /** Like `reload`; null if there is no such group. */
  async refresh(id: PgId): Promise<PlacementGroup | null> {
    const group = await this.#options.metadata.placementGroup(id)
    return group === null ? null : this.#learn(group)
  }

  /** Reads the group's row again: after `Moved`, or when it was changed by this node. */
  async reload(id: PgId): Promise<PlacementGroup> {
    let loading = this.#loading.get(id)
    if (loading === undefined) {
      loading = this.#load(id).finally(() => this.#loading.delete(id))
      this.#loading.set(id, loading)
    }
    return loading
  }

  /** The code that these drives would give. */
  codeOf(drives: readonly PlacementDrive[]): PlacementPlan | null {
    return chooseErasureCode(drives, this.#options.erasureCode)
  }

  /** Members of each slot under the present view; none when no drive lives. */
  winners(): readonly (readonly string[])[] {
    this.#refreshView()
    this.#winners ??= winnersOf(this.#options.view().drives, this.#plan)
    return this.#winners
  }

  /** What the slots want under the present view (DESIGN §7). The same object as long as the view is the same. */
  wanted(): WantedGroups {
    this.#refreshView()
    this.#wanted ??= wantedOf(this.winners(), this.#plan)
    return this.#wanted
  }

  /** What they would want if these drives took new shards. */
  wantedOver(drives: readonly PlacementDrive[]): WantedGroups {
    const asked = JSON.stringify(drives)
    if (this.#wantedOver?.drives !== asked) {
      const plan = this.codeOf(drives)
      this.#wantedOver = { drives: asked, wanted: wantedOf(winnersOf(drives, plan), plan) }
    }
    return this.#wantedOver.wanted
  }

  /** Takes no more uploads into a group: it is closed, or will not take a certain blob. Its slots get another one. */
  async retire(id: PgId): Promise<void> {
    await this.#options.metadata.sealPlacementGroup(id)
    this.#leave(id)
    this.#options.sealed?.(id)
  }

  /** Slots are looked up anew: some of their groups were sealed. */
  resetSlots(): void {
    this.#slots = []
    this.#slotGroups.clear()
  }

  /** Another node has sealed, closed, moved or deleted this group. What is known of it is read again. */
  async changed(id: PgId): Promise<void> {
    this.#leave(id)
    if (!this.#known.has(id) || (await this.refresh(id)) !== null || this.#inUse.has(id)) return
    // deleted: it held nothing
    this.#known.delete(id)
    this.#options.native.forgetPg(id)
  }

  /** Its slots look for another group. */
  #leave(id: PgId): void {
    for (const [slot, open] of this.#slotGroups) {
      if (open !== id) continue
      this.#slots[slot] = undefined
      this.#slotGroups.delete(slot)
    }
  }

  async #load(id: PgId): Promise<PlacementGroup> {
    const group = await this.refresh(id)
    if (group === null) throw new AnvilError('ShardsUnavailable', `placement group ${id} is not known`)
    return group
  }

  #learn(group: PlacementGroup): PlacementGroup {
    const { id, k, m, members, generation } = group
    this.#options.native.setPg({ pgId: id, k, m, members: [...members], generation })
    this.#known.set(id, group)
    return group
  }

  #refreshView(): void {
    const view = this.#options.view()
    if (view.version === this.#slotsVersion) return
    this.#slotsVersion = view.version
    this.resetSlots()
    this.#winners = null
    this.#wanted = null
    this.#plan = this.codeOf(view.drives)
  }

  async #openSlot(slot: number): Promise<PlacementGroup> {
    const slots = this.#slots
    try {
      const view = this.#options.view()
      const plan = this.#plan
      if (plan === null) throw new AnvilError('InsufficientRedundancy', 'no drive takes new shards')
      if (plan.m === 0 && view.everTwoDrives && !this.#options.allowUnprotectedWrites) {
        throw new AnvilError('InsufficientRedundancy',
          'only one drive takes new shards, and this deployment has had more: nothing is written without redundancy')
      }
      const members = slotWinners(slot, view.drives, plan)
      const group = await this.#options.metadata.openPlacementGroup(plan.k, plan.m, members as PlacementGroup['members'])
      if (slots === this.#slots) this.#slotGroups.set(slot, group.id)
      return this.#learn(group)
    } catch (error) {
      // the next upload of this slot tries again
      slots[slot] = undefined
      throw error
    }
  }
}

/**
 * The groups that the slots of a view want, as `groupDigest`s: so few and small that every node can tell the others. Empty
 * when no drive takes shards.
 */
export type WantedGroups = ReadonlySet<number>

const winnersOf = (drives: readonly PlacementDrive[], plan: PlacementPlan | null): string[][] =>
  (plan === null ? [] : allWinners(PLACEMENT_SLOTS, drives, plan))

const wantedOf = (winners: readonly (readonly string[])[], plan: PlacementPlan | null): WantedGroups =>
  new Set(plan === null ? [] : winners.map((members) => groupDigest({ k: plan.k, m: plan.m, members })))

/**
 * Code and members in their order as one number: the first 52 bits of SHA-256. Two groups of one digest would cost that one
 * of them stays open in vain.
 */
export function groupDigest({ k, m, members }: { k: number; m: number; members: readonly string[] }): number {
  const digest = createHash('sha256').update(`${k}+${m}:${members.join(',')}`).digest()
  return digest.readUIntBE(0, 6) * 16 + (digest[6]! >> 4)
}
