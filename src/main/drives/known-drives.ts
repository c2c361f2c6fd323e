/**
 * ANVIL_STATE_DIR/drives.json: which drive this node has seen at which path. A path that is known and comes up empty is an
 * unmounted or broken disk, never a place for a new drive: new shards there would fill the file system below the mount
 * point (DESIGN §7).
 */
import { join } from 'node:path'
import { isId128, type DriveId } from '../../shared/ids.ts'
import { readPrivateFile, writePrivateFile } from '../secrets/private-file.ts'

export interface KnownDrive {
  path: string
  driveId: DriveId
}

const FORMAT_VERSION = 1

export class KnownDrives {
  readonly #file: string
  #drives: KnownDrive[]

  private constructor(file: string, drives: KnownDrive[]) {
    this.#file = file
    this.#drives = drives
  }

  /** @throws Error when the file is there and cannot be understood */
  static load(stateDir: string): KnownDrives {
    const file = join(stateDir, 'drives.json')
    const text = readPrivateFile(file)
    if (text === null) return new KnownDrives(file, [])
    return new KnownDrives(file, parse(text, file))
  }

  get all(): readonly KnownDrive[] {
    return this.#drives
  }

  at(path: string): KnownDrive | undefined {
    return this.#drives.find((drive) => drive.path === path)
  }

  /** Remembers a drive at a path, durably. */
  remember(path: string, driveId: DriveId): void {
    const others = this.#drives.filter((drive) => drive.path !== path && drive.driveId !== driveId)
    this.#save([...others, { path, driveId }])
  }

  /** The drive at a path is gone for good (an operator said so): its folder may take a new one. */
  forget(path: string): void {
    this.#save(this.#drives.filter((drive) => drive.path !== path))
  }

  #save(drives: KnownDrive[]): void {
    writePrivateFile(this.#file, `${JSON.stringify({ formatVersion: FORMAT_VERSION, drives }, null, 2)}\n`)
    this.#drives = drives
  }
}

function parse(text: string, file: string): KnownDrive[] {
  const data = JSON.parse(text) as { formatVersion?: unknown; drives?: unknown }
  if (data.formatVersion !== FORMAT_VERSION || !Array.isArray(data.drives)) {
    throw new Error(`${file} is not of a format that this version understands`)
  }
  return data.drives.map((entry: unknown) => {
    const { path, driveId } = entry as Partial<KnownDrive>
    if (typeof path !== 'string' || typeof driveId !== 'string' || !isId128(driveId)) throw new Error(`${file}: not a drive: ${JSON.stringify(entry)}`)
    return { path, driveId }
  })
}
