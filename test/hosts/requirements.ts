/** What a machine must have for the tests on hosts. What is missing is said with the command that installs it. */
import { isInstalled } from './commands.ts'

/** Programs, and Debian's package of each. */
const NETWORK: Record<string, string> = { ip: 'iproute2', nsenter: 'util-linux', iptables: 'iptables' }
const CONTAINERS: Record<string, string> = { podman: 'podman', buildah: 'buildah', runc: 'runc' }
const STAND_INS: Record<string, string> = { debootstrap: 'debootstrap', tar: 'tar', cargo: 'cargo', npm: 'npm' }

export interface Wanted {
  containers: boolean
  /** Base images are made here instead of pulled. */
  standIns: boolean
}

/** One line for each thing that is missing; none when all is there. */
export function missing({ containers, standIns }: Wanted): string[] {
  const programs = { ...NETWORK, ...(containers ? CONTAINERS : {}), ...(containers && standIns ? STAND_INS : {}) }
  const packages = Object.entries(programs).filter(([program]) => !isInstalled(program)).map(([, name]) => name)
  return [
    ...(process.getuid?.() === 0 ? [] : ['root, to make network namespaces: run it with sudo']),
    ...(packages.length === 0 ? [] : [`the Debian packages ${packages.join(', ')}: apt-get install -y --no-install-recommends ${packages.join(' ')}`]),
  ]
}
