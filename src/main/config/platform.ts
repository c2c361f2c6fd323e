/** What the defaults rest on: facts of this host, gathered once so that reading the settings itself is pure. */
import { accessSync, constants } from 'node:fs'
import { availableParallelism, networkInterfaces, totalmem } from 'node:os'

export interface PlatformFacts {
  /** Relative paths of settings start here. */
  workingDir: string
  /** Cores that this process may use (affinity and cgroup quota counted). */
  cores: number
  /** Memory that this process may use, in bytes: the host's, or the cgroup's limit where that is lower. */
  memoryBytes: number
  /** Addresses of the interfaces that other hosts can reach (no loopback, no link-local, no bridge of containers), IPv4 first. */
  addresses: string[]
  /** Whether this process can read the file. */
  readable(path: string): boolean
}

export function platformFacts(): PlatformFacts {
  const limit = process.constrainedMemory()
  const total = totalmem()
  return {
    workingDir: process.cwd(),
    cores: availableParallelism(),
    memoryBytes: limit > 0 && limit < total ? limit : total,
    addresses: reachableAddresses(),
    readable,
  }
}

/** Bridges and pairs of virtual machines and containers: their addresses are the same on many hosts, and lead nowhere from others. */
const INSIDE_THE_HOST = /^(docker|br-|veth|virbr|vnet|cni|flannel|cali|podman|lxcbr|lxdbr)/

/** @param interfaces as `os.networkInterfaces` gives them */
export function reachableAddresses(interfaces = networkInterfaces()): string[] {
  const named = Object.entries(interfaces).flatMap(([name, addresses]) => (addresses ?? []).map((one) => ({ name, ...one })))
  const usable = named.filter((one) => !one.internal && !one.address.startsWith('fe80:') && !one.address.startsWith('169.254.'))
  const outside = usable.filter((one) => !INSIDE_THE_HOST.test(one.name))
  return (outside.length > 0 ? outside : usable).toSorted((a, b) => a.family.localeCompare(b.family)).map((one) => one.address)
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}
