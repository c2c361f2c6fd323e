/** A network that falls into two: hosts of different sides do not hear each other, and all of them still hear host A. */
import type { Host } from './network.ts'

type Sides = readonly [readonly Host[], readonly Host[]]

/** Packets between the sides are lost without an answer, in both directions. */
export const cut = (sides: Sides): Promise<void> => drop(sides, '-A')

export const heal = (sides: Sides): Promise<void> => drop(sides, '-D')

async function drop([left, right]: Sides, rule: '-A' | '-D'): Promise<void> {
  await Promise.all([...between(left, right), ...between(right, left)])

  function between(hosts: readonly Host[], others: readonly Host[]): Promise<void>[] {
    return hosts.map(async ({ namespace }) => {
      // one after the other: iptables locks its table
      for (const { address } of others) await namespace.run('iptables', ['-w', rule, 'INPUT', '-s', address, '-j', 'DROP'])
    })
  }
}
