/**
 * The drives of the whole region as this node sees them: its own, and those that members announce. Tells placement which
 * of them take new shards, the shard plane where each of them lies, and membership what this node has.
 */
import { EventEmitter } from 'node:events'
import type { DriveId, NodeId } from '../../shared/ids.ts'
import type { NativePlane, PlanePeerState } from '../../shared/native-plane.ts'
import type { LocalDrives } from '../drives/local-drives.ts'
import type { Member, MemberDrive, Membership } from '../membership/contract.ts'
import type { Logger } from '../observability/logger.ts'
import type { PlacementDrive } from '../placement/erasure-code.ts'
import type { DriveView } from '../placement/groups.ts'
import { parseAddress } from '../transport/addresses.ts'

export interface ClusterDrivesOptions {
  nodeId: NodeId
  /** ANVIL_ZONE. */
  zone: string
  local: Pick<LocalDrives, 'all' | 'everTwoDrives'> & Changing
  membership: Pick<Membership, 'members' | 'announceDrives'> & Changing
  plane: Pick<NativePlane, 'setPeer' | 'removePeer' | 'setRemoteDrive' | 'setPeerListener'>
  logger: Logger
}

interface Changing {
  on(event: 'change', listener: () => void): unknown
  off(event: 'change', listener: () => void): unknown
}

/** A drive that can be read, and where. */
export interface ReachableDrive extends MemberDrive {
  nodeId: NodeId
  zone: string
  /** It takes new shards. */
  placeable: boolean
}

/** How often free space is looked at, and what share of a drive it must have moved by to be announced again. */
const SPACE_EVERY_MS = 10_000
const SPACE_SHARE = 0.01

export const announcementOf = (drives: LocalDrives['all']): MemberDrive[] => drives.flatMap(({ driveId, state, totalBytes, freeBytes }) =>
  (driveId !== null && (state === 'online' || state === 'full') ? [{ driveId, state, totalBytes, freeBytes }] : []))

/** Events: `change` when the view is another one. */
export class ClusterDrives extends EventEmitter<{ change: [] }> {
  readonly #options: ClusterDrivesOptions
  /** What the shard plane last said of each peer; a peer that it has not reached yet is in none. */
  readonly #answering = new Map<NodeId, PlanePeerState>()
  /** As the plane was told: process and addresses of each peer, node of each drive. */
  readonly #peers = new Map<NodeId, string>()
  readonly #remote = new Map<DriveId, NodeId>()
  #reachable: readonly ReachableDrive[] = []
  #view: DriveView = { version: 0, drives: [], everTwoDrives: false }
  #announced: MemberDrive[] | null = null
  #timer: NodeJS.Timeout | null = null
  #stopped = false

  constructor(options: ClusterDrivesOptions) {
    super()
    this.#options = options
    options.local.on('change', this.#onLocal)
    options.membership.on('change', this.#look)
    options.plane.setPeerListener((state) => this.#onPeer(state))
    this.#timer = setInterval(this.#onLocal, SPACE_EVERY_MS).unref()
    this.#onLocal()
  }

  /** What placement may use now. */
  view(): DriveView {
    return this.#view
  }

  /** Drives that can be asked for shards now: of this node, and of members whose shard plane answers. */
  get reachable(): readonly ReachableDrive[] {
    return this.#reachable
  }

  /** Whether the shard plane of a node answers this one. */
  answers(nodeId: NodeId): boolean {
    return nodeId === this.#options.nodeId || this.#answering.get(nodeId)?.answering === true
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#options.local.off('change', this.#onLocal)
    this.#options.membership.off('change', this.#look)
  }

  readonly #onLocal = (): void => {
    if (this.#stopped) return
    const now = announcementOf(this.#options.local.all)
    if (this.#announced === null || differs(this.#announced, now)) {
      this.#announced = now
      this.#options.membership.announceDrives(now)
    }
    this.#look()
  }

  #onPeer(state: PlanePeerState): void {
    if (this.#stopped || !this.#peers.has(state.nodeId as NodeId)) return
    this.#answering.set(state.nodeId as NodeId, state)
    this.#look()
  }

  readonly #look = (): void => {
    if (this.#stopped) return
    const { nodeId, zone, local, membership } = this.#options
    const peers = membership.members.filter((member) => !member.self && this.#isAsked(member))
    this.#tellPeers(peers)
    const reachable: ReachableDrive[] = announcementOf(local.all)
      .map((drive) => ({ ...drive, nodeId, zone, placeable: drive.state === 'online' }))
    const own = new Set(reachable.map((drive) => drive.driveId))
    const owners = ownersOf(peers)
    this.#tellDrives(owners, own)
    for (const [driveId, { member, drive }] of owners) {
      if (own.has(driveId) || !this.answers(member.nodeId)) continue
      reachable.push({ ...drive, nodeId: member.nodeId, zone: member.zone, placeable: drive.state === 'online' && member.state === 'alive' })
    }
    this.#reachable = reachable.sort((a, b) => (a.driveId < b.driveId ? -1 : 1))
    this.#refreshView(own.size + owners.size)
  }

  /** The dead and the left are let go once they do not answer: until then one that leaves finishes what it has begun. */
  #isAsked({ nodeId, state }: Member): boolean {
    return state === 'alive' || state === 'suspect' || this.answers(nodeId)
  }

  #tellPeers(peers: readonly Member[]): void {
    const { plane, logger } = this.#options
    for (const { nodeId, processId, addrs } of peers) {
      const told = `${processId} ${addrs.join(' ')}`
      if (this.#peers.get(nodeId) === told) continue
      this.#peers.set(nodeId, told)
      const dialled = addrs.flatMap((addr) => parseAddress(addr) ?? []).map(({ host, port }) => ({ host, port }))
      if (dialled.length === 0) logger.warn({ node: nodeId, addrs }, `node ${nodeId} announces no address that its shards could be had from (PUBLIC_ADDRS)`)
      plane.setPeer({ nodeId, processId, addrs: dialled })
    }
    const there = new Set(peers.map((peer) => peer.nodeId))
    for (const nodeId of [...this.#peers.keys()].filter((one) => !there.has(one))) {
      this.#peers.delete(nodeId)
      this.#answering.delete(nodeId)
      plane.removePeer(nodeId)
    }
  }

  #tellDrives(owners: ReadonlyMap<DriveId, Owner>, own: ReadonlySet<DriveId>): void {
    const { plane } = this.#options
    for (const [driveId, { member }] of owners) {
      if (own.has(driveId) || this.#remote.get(driveId) === member.nodeId) continue
      this.#remote.set(driveId, member.nodeId)
      plane.setRemoteDrive(driveId, member.nodeId)
    }
    for (const driveId of [...this.#remote.keys()].filter((one) => own.has(one) || !owners.has(one))) {
      this.#remote.delete(driveId)
      plane.setRemoteDrive(driveId, null)
    }
  }

  #refreshView(known: number): void {
    const drives: PlacementDrive[] = this.#reachable.filter((drive) => drive.placeable)
      .map(({ driveId, nodeId, zone, totalBytes }) => ({ driveId, nodeId, zone, totalBytes }))
    const everTwoDrives = this.#view.everTwoDrives || this.#options.local.everTwoDrives || known > 1
    const { version, ...before } = this.#view
    if (version > 0 && JSON.stringify(before) === JSON.stringify({ drives, everTwoDrives })) return
    this.#view = { version: version + 1, drives, everTwoDrives }
    this.emit('change')
  }
}

interface Owner {
  member: Member
  drive: MemberDrive
}

/** Who has each drive. One that was carried to another host may be in two records: the living and younger process has it. */
function ownersOf(peers: readonly Member[]): Map<DriveId, Owner> {
  const owners = new Map<DriveId, Owner>()
  const rank = ({ state, startedMs }: Member): number => (state === 'alive' ? 1e15 : 0) + startedMs
  for (const member of peers) {
    for (const drive of member.drives) {
      const other = owners.get(drive.driveId)
      if (other === undefined || rank(member) > rank(other.member)) owners.set(drive.driveId, { member, drive })
    }
  }
  return owners
}

function differs(before: readonly MemberDrive[], now: readonly MemberDrive[]): boolean {
  return before.length !== now.length || now.some((drive, i) => {
    const old = before[i]!
    return old.driveId !== drive.driveId || old.state !== drive.state || old.totalBytes !== drive.totalBytes
      || Math.abs(old.freeBytes - drive.freeBytes) > drive.totalBytes * SPACE_SHARE
  })
}
