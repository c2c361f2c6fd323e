/** One setup at a time per checkout: several nodes may be started at once. A lock whose holder is gone is taken over. */
import fs from 'node:fs'
import path from 'node:path'
import { say } from './run.mjs'
import { setupDir } from './paths.mjs'

const RETRY_MS = 200
const lockFile = path.join(setupDir, 'lock')

/** Resolves with the function that gives the lock back. */
export async function takeLock() {
  fs.mkdirSync(setupDir, { recursive: true })
  const mine = `${process.pid} ${startTicks(process.pid)}`
  const offer = `${lockFile}.${process.pid}`
  fs.writeFileSync(offer, mine)
  try {
    for (let told = false; !tryLink(offer); told = true) {
      const holder = readLock()
      if (holder !== '' && !isAlive(holder)) removeStale(holder)
      else {
        if (!told) say(`waiting for the setup that process ${holder.split(' ')[0]} runs in this checkout`)
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      }
    }
  } finally {
    fs.rmSync(offer, { force: true })
  }
  const release = () => {
    if (readLock() === mine) fs.rmSync(lockFile, { force: true })
  }
  process.once('exit', release)
  return release
}

function tryLink(offer) {
  try {
    fs.linkSync(offer, lockFile)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

function readLock() {
  try {
    return fs.readFileSync(lockFile, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return ''
    throw error
  }
}

/** Renaming first makes sure that of two waiters only one removes it, and that neither removes a newer lock. */
function removeStale(holder) {
  const aside = `${lockFile}.stale.${process.pid}`
  try {
    fs.renameSync(lockFile, aside)
  } catch (error) {
    if (error.code === 'ENOENT') return
    throw error
  }
  if (fs.readFileSync(aside, 'utf8') !== holder) tryLink(aside)
  fs.rmSync(aside, { force: true })
}

function isAlive(holder) {
  const [pid, ticks] = holder.split(' ')
  return startTicks(Number(pid)) === ticks
}

/** When the process began, in clock ticks since boot: tells a process from a later one with the same id. */
function startTicks(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces; field 3 follows it, the start time is field 22.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return 'gone'
    throw error
  }
}
