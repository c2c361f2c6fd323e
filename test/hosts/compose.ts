/** The compose files of docker/, as far as the tests need them: what a service's settings are once .env is filled in. */
import fs from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'

export interface Service {
  image: string
  command?: string[]
  environment: Record<string, string>
  ports: string[]
  volumes?: string[]
}

interface ComposeFile {
  services: Record<string, Service>
}

const folder = path.resolve(import.meta.dirname, '../../docker')

/** @param variables what stands in .env @throws Error where one is needed that is not there */
export function composeService(file: 'docker-compose.yml' | 'docker-compose.node.yml', name: string, variables: Record<string, string>): Service {
  const text = fs.readFileSync(path.join(folder, file), 'utf8')
  const { services } = interpolated(parse(text, { merge: true }), variables) as ComposeFile
  const service = services[name]
  if (service === undefined) throw new Error(`${file} has no service ${name}`)
  return service
}

function interpolated(value: unknown, variables: Record<string, string>): unknown {
  if (typeof value === 'string') return interpolate(value, variables)
  if (Array.isArray(value)) return value.map((item) => interpolated(item, variables))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolated(item, variables)]))
}

/** `${NAME:-default}`, `${NAME:?message}`, and `$$` for a dollar. */
function interpolate(text: string, variables: Record<string, string>): string {
  return text.replace(/\$\$|\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, name?: string, kind?: string, rest?: string) => {
    if (name === undefined) return '$'
    const value = variables[name] ?? ''
    if (value !== '') return value
    if (kind === '-') return rest ?? ''
    throw new Error(`${name}: ${rest ?? 'not set'}`)
  })
}
