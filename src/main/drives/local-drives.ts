/**
 * The drives of this host: finds, makes, opens and watches them, and says which take new shards. A node starts with the
 * drives it has; those that are away are looked for again until they come back.
 */
import { existsSync, mkdirSync, readdirSync, statfsSync } from 'node:fs'
import { EventEmitter } from 'node:events'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { randomId, type DeploymentId, type DriveId, type NodeId } from '../../shared/ids.ts'
import { GIB } from '../../shared/limits.ts'
import { nativeErrorKind, type DriveStats, type Native } from '../../shared/native.ts'
import type { ObjectMetadata } from '../metadata/contract.ts'
import { KnownDrives } from './known-drives.ts'

export type DriveState = 'online' | 'full' | 'failed' | 'offline'

/** One of ANVIL_DATA_DIRS as it is now. */
export interface LocalDrive {
  path: string
  driveId: DriveId | null
  state: DriveState
  /** Why it is not online; one line for people. */
  reason: string
  totalBytes: number
  freeBytes: number
}

export interface LocalDrivesOptions {
  native: Native
  metadata: Pick<ObjectMetadata, 'registerDrive' | 'drives'>
  logger: Logger
  stateDir: string
  paths: readonly string[]
  deploymentId: DeploymentId
  nodeId: NodeId
}

/** In each drive's folder; the store writes it when it makes the drive. */
const DRIVE_FILE = 'anvil-drive.json'

/** How often states are read and absent drives looked for. */
const WATCH_MS = 1000

/** Free space that shards leave alone: a twentieth, between 1 and 20 GiB, but no more than a tenth of a small file system. */
export const reserveBytes = (totalBytes: number): number =>
  Math.min(Math.floor(totalBytes / 10), Math.min(20 * GIB, Math.max(GIB, Math.floor(totalBytes / 20))))

/** Events: `change` when a drive's state has changed. */
export class LocalDrives extends EventEmitter<{ change: []; online: [DriveId] }> {
  readonly #options: LocalDrivesOptions
  readonly #drives = new Map<string, LocalDrive>()
  #everTwoDrives = false
  #timer: NodeJS.Timeout | null = null
  #watching: Promise<void> = Promise.resolve()

  constructor(options: LocalDrivesOptions) {
    super()
    this.#options = options
    for (const path of options.paths) {
      this.#drives.set(path, { path, driveId: null, state: 'offline', reason: 'not opened yet', totalBytes: 0, freeBytes: 0 })
    }
  }

  /** Opens what is there; resolves when each path was tried once. May be tried again. @throws AnvilError MetadataUnavailable */
  async start(): Promise<void> {
    // first, so that no drive is opened only to be closed again while the database is away
    await this.#countDrives()
    for (const drive of this.#drives.values()) if (drive.state === 'offline') await this.#tryOpen(drive)
    this.#readStates()
    const watch = (): void => {
      this.#timer = setTimeout(() => {
        this.#watching = this.#watch().catch((error: unknown) => {
          this.#options.logger.error({ err: error }, 'the drives could not be looked at, trying again')
        }).finally(() => {
          if (this.#timer !== null) watch()
        })
      }, WATCH_MS)
    }
    watch()
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#watching
    for (const drive of this.#drives.values()) {
      if (isOpen(drive)) await this.#options.native.closeDrive(drive.driveId!)
    }
  }

  get all(): readonly LocalDrive[] {
    return [...this.#drives.values()]
  }

  /** Ids of the drives that can be read (online or full). */
  get readable(): DriveId[] {
    return this.all.filter((drive) => drive.state === 'online' || drive.state === 'full').map((drive) => drive.driveId!)
  }

  /** Whether the region has ever had two drives, as far as this node has asked. */
  get everTwoDrives(): boolean {
    return this.#everTwoDrives
  }

  async #watch(): Promise<void> {
    for (const drive of this.#drives.values()) {
      if (isOpen(drive) && !existsSync(join(drive.path, DRIVE_FILE))) await this.#vanished(drive)
      if (drive.driveId !== null && KnownDrives.load(this.#options.stateDir).at(drive.path) === undefined) await this.#replaced(drive)
      if (drive.state === 'offline') await this.#tryOpen(drive)
    }
    this.#readStates()
  }

  /** The folder was taken away under the open drive: files that are still open would take writes that nobody can read again. */
  async #vanished(drive: LocalDrive): Promise<void> {
    this.#set(drive, 'offline', 'its folder is gone: was the disk unmounted?')
    await this.#options.native.closeDrive(drive.driveId!)
  }

  /** An operator said that the drive at this path is gone for good: the path may take a new one. */
  async #replaced(drive: LocalDrive): Promise<void> {
    const { native, logger } = this.#options
    logger.warn({ path: drive.path, drive: drive.driveId }, 'drive was declared gone for good')
    if (isOpen(drive)) await native.closeDrive(drive.driveId!)
    this.#set(drive, 'offline', 'declared gone for good')
    drive.driveId = null
  }

  async #countDrives(): Promise<void> {
    const registered = await this.#options.metadata.drives()
    this.#everTwoDrives = registered.length >= 2
  }

  async #tryOpen(drive: LocalDrive): Promise<void> {
    const { native, deploymentId, logger } = this.#options
    try {
      const expected = await this.#prepare(drive)
      if (expected === null) return
      const space = statfsSync(drive.path)
      const totalBytes = space.blocks * space.bsize
      const info = await native.openDrive({
        path: drive.path, deploymentId, driveId: expected, reserveBytes: reserveBytes(totalBytes),
      })
      const driveId = info.driveId as DriveId
      try {
        await this.#register(drive.path, driveId, totalBytes)
      } catch (error) {
        // an open drive is locked: the next try could not open it
        await native.closeDrive(driveId)
        throw error
      }
      drive.driveId = driveId
      drive.totalBytes = totalBytes
      this.#set(drive, 'online', '')
      logger.info({ drive: drive.driveId, path: drive.path, io: info.io, recoveredRecords: info.recoveredRecords, recoveryMs: info.recoveryMs }, 'drive online')
      this.emit('online', drive.driveId)
    } catch (error) {
      this.#set(drive, 'offline', describe(error))
    }
  }

  /** Makes a drive known before it takes its first shard: to this node, and to the deployment, which counts its drives. */
  async #register(path: string, driveId: DriveId, totalBytes: number): Promise<void> {
    const { metadata, nodeId, stateDir } = this.#options
    KnownDrives.load(stateDir).remember(path, driveId)
    await metadata.registerDrive({ driveId, nodeId, path, totalBytes })
    if (!this.#everTwoDrives) await this.#countDrives()
  }

  /** The id of the drive to open at this path (made if the path is new), or null when it stays offline. */
  async #prepare(drive: LocalDrive): Promise<DriveId | null> {
    const { native, deploymentId, stateDir, logger } = this.#options
    const known = KnownDrives.load(stateDir)
    const here = known.at(drive.path)
    const found = await native.probeDrive(drive.path)
    switch (found.state) {
      case 'drive':
        if (found.deploymentId !== deploymentId) return this.#offline(drive, `holds a drive of another deployment (${found.deploymentId})`)
        if (here !== undefined && here.driveId !== found.driveId && !known.all.some((other) => other.driveId === found.driveId)) {
          return this.#offline(drive, `holds drive ${found.driveId}, which this node has never seen, in place of ${here.driveId}: run "anvil admin drive replace ${drive.path}" if that one is gone for good`)
        }
        if (await this.#isLost(found.driveId)) {
          return this.#offline(drive, `holds drive ${found.driveId}, which was declared gone for good: empty the folder to make a new drive`)
        }
        return found.driveId as DriveId
      case 'foreign':
        return this.#offline(drive, `is no drive and not empty (${found.found}): give Anvil a folder of its own`)
      case 'missing':
      case 'empty': {
        if (here !== undefined) {
          return this.#offline(drive, `is ${found.state}, but drive ${here.driveId} was there: mount its disk, or run "anvil admin drive replace ${drive.path}" if it is gone for good`)
        }
        mkdirSync(drive.path, { recursive: true })
        refuseIfUsed(drive.path)
        const driveId = randomId<DriveId>()
        await native.createDrive(drive.path, deploymentId, driveId)
        logger.info({ drive: driveId, path: drive.path }, 'new drive')
        return driveId
      }
    }
  }

  async #isLost(driveId: string): Promise<boolean> {
    const registered = await this.#options.metadata.drives()
    return registered.some((drive) => drive.driveId === driveId && drive.state === 'lost')
  }

  #offline(drive: LocalDrive, reason: string): null {
    this.#set(drive, 'offline', reason)
    return null
  }

  #readStates(): void {
    const stats = new Map<string, DriveStats>(this.#options.native.driveStats().map((entry) => [entry.driveId, entry]))
    for (const drive of this.#drives.values()) {
      const entry = drive.driveId === null ? undefined : stats.get(drive.driveId)
      if (entry === undefined || drive.state === 'offline') continue
      drive.freeBytes = entry.freeBytes
      drive.totalBytes = entry.totalBytes
      const isBack = drive.state === 'failed' && entry.state !== 'failed'
      this.#set(drive, entry.state, entry.reason)
      if (!isBack) continue
      this.#options.logger.info({ drive: drive.driveId, path: drive.path }, 'drive online again: its index has been rebuilt')
      this.emit('online', drive.driveId!)
    }
  }

  #set(drive: LocalDrive, state: DriveState, reason: string): void {
    if (drive.state === state && drive.reason === reason) return
    drive.state = state
    drive.reason = reason
    if (state !== 'online') this.#options.logger.error({ path: drive.path, drive: drive.driveId, state }, `drive ${drive.path} is ${state}${reason === '' ? '' : `: ${reason}`}`)
    this.emit('change')
  }
}

const isOpen = (drive: LocalDrive): boolean => drive.driveId !== null && drive.state !== 'offline'

/** A folder that came to be between the look and now must be empty. */
function refuseIfUsed(path: string): void {
  const entries = readdirSync(path).filter((name) => name !== 'lost+found')
  if (entries.length > 0) throw new Error(`${path} is not empty`)
}

function describe(error: unknown): string {
  const text = error instanceof Error ? error.message.replace(/^\[\w+\]\s*/, '') : String(error)
  const kind = nativeErrorKind(error)
  return kind === 'DriveLocked' ? `is in use by another Anvil: ${text}` : text
}
