/** The image of docker/Dockerfile, built from this checkout. */
import { buildah, buildLog, checkout, podman } from './podman.ts'
import { registrySettings } from './registry-settings.ts'
import { makeStandIns } from './stand-ins.ts'

/** As docker/docker-compose.yml names it. */
export const IMAGE = 'ghcr.io/worka-ai/anvil:main'
const BUILD_TIMEOUT_MS = 1_800_000

export interface BuiltImage {
  seconds: number
  bytes: number
  /** Of the image that it stands on. */
  baseBytes: number
}

/** @param pull base images come from their registry; else stand-ins are made for them */
export async function buildImage(pull: boolean): Promise<BuiltImage> {
  if (!pull) await makeStandIns()
  const began = performance.now()
  const source = pull ? [] : ['--pull-never']
  const args = ['bud', '--isolation=chroot', '--format', 'docker', '--force-rm', '--layers', ...source, ...registrySettings(), '--tag', IMAGE, '--file', 'docker/Dockerfile', '.']
  await buildah(args, { cwd: checkout, timeoutMs: BUILD_TIMEOUT_MS, logFile: buildLog('image') })
  return { seconds: (performance.now() - began) / 1000, bytes: await size(IMAGE), baseBytes: await size('docker.io/library/node:24-trixie-slim') }
}

async function size(image: string): Promise<number> {
  return Number(await podman(['image', 'inspect', '--format', '{{.Size}}', image]))
}
