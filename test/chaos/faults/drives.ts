/** Drives that rot, vanish and fill. What they destroy is one loss, so they come alone, and the next when all is made good. */
import { mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { status } from '../../e2e/status.ts'
import { outcomeOf } from '../../hosts/commands.ts'
import type { NodeProcess } from '../../support/node-process.ts'
import { until } from '../../support/until.ts'
import { type Fault, freeNodes } from './fault.ts'
import { rot } from './rot.ts'

const PATIENCE_MS = 240_000
/** Left to a file system that is full: some writes end in their middle. */
const LEFT_BYTES = [64 * 1024, 1024 * 1024, 8 * 1024 * 1024]

const emptied: Fault = {
  name: 'drive lost', weight: 2, alone: true,
  draw(stage, random) {
    const nodes = freeNodes(stage, random, 1)
    const ms = random.between(0, 4000)
    if (nodes === null) return null
    const [i] = nodes as [number]
    return {
      text: `the drive of node ${i} is emptied, and replaced`, nodes, survivable: true,
      async play() {
        const node = stage.node(i)
        const drive = node.drives[0]!
        await stage.kill(i)
        for (const name of readdirSync(drive)) rmSync(join(drive, name), { recursive: true, force: true })
        await stage.start(i)
        const [empty] = (await status(node)).drives
        if (empty?.state !== 'offline') stage.findings.add('an empty folder taken for a drive', JSON.stringify(empty))
        await stage.sleep(ms)
        await node.admin('drive', 'replace', drive)
        await until('the new drive is online', async () => (await status(node)).drives[0]?.state === 'online', { timeoutMs: PATIENCE_MS })
        await stage.untilWhole(PATIENCE_MS)
      },
    }
  },
}

/** The last node's drive is a small file system of its own where we may mount one. */
const full: Fault = {
  name: 'disk full', weight: 2, always: true,
  possible: (stage) => stage.smallDrive !== null,
  draw(stage, random) {
    const i = stage.smallDrive!
    const ms = random.between(2000, 20_000)
    const left = random.pick(LEFT_BYTES)
    const killed = random.chance(0.4)
    if (stage.taken.has(i)) return null
    return {
      text: `the drive of node ${i} is full but for ${left / 1024} KiB for ${ms} ms${killed ? ', kill -9 and start meanwhile' : ''}`, nodes: [i], survivable: true,
      async play() {
        const node = stage.node(i)
        const ballast = join(node.dir, 'small', 'ballast')
        const { stdout } = await outcomeOf('df', ['--output=avail', '-B1', node.drives[0]!])
        const bytes = Math.max(0, Number(stdout.split('\n')[1]) - left)
        await outcomeOf('fallocate', ['-l', String(bytes), ballast])
        await stage.sleep(ms)
        if (killed) {
          await stage.kill(i)
          await stage.start(i)
          await stage.sleep(ms)
        }
        const { state } = (await status(node)).drives[0]!
        rmSync(ballast, { force: true })
        await until('the drive takes shards again', async () => (await status(node)).drives[0]?.state === 'online', { timeoutMs: PATIENCE_MS })
        return `${Math.round(bytes / 1e6)} MB were free; it was ${state}`
      },
    }
  },
}

export const driveFaults: readonly Fault[] = [rot, emptied, full]

/** A small file system of its own for a node's drive, before its first start; false where none can be mounted. */
export async function mountSmallDrive(node: NodeProcess, bytes: number): Promise<boolean> {
  const at = join(node.dir, 'small')
  mkdirSync(at, { recursive: true })
  const { code } = await outcomeOf('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'anvil-chaos', at])
  if (code !== 0) return false
  mkdirSync(join(at, 'drive'))
  symlinkSync(join(at, 'drive'), node.drives[0]!)
  return true
}

export async function unmountSmallDrive(node: NodeProcess): Promise<void> {
  await outcomeOf('umount', ['-l', join(node.dir, 'small')])
}
