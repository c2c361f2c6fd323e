#!/usr/bin/env node
/** Makes src/main/grpc/generated from proto/: the types of messages and services. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const generator = path.join(root, 'node_modules', '@grpc', 'proto-loader', 'build', 'bin', 'proto-loader-gen-types.js')

export function generateGrpcTypes(outDir) {
  fs.rmSync(outDir, { recursive: true, force: true })
  execFileSync(process.execPath, [
    generator, '--longs=Number', '--enums=String', '--defaults', '--oneofs', '--grpcLib=@grpc/grpc-js', '--importFileExtension=.ts', '--includeComments',
    '-I', path.join(root, 'proto'), '-O', outDir, 'anvil/v1/auth.proto', 'anvil/v1/cluster.proto',
  ], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  // its comments name the folder of this machine
  for (const entry of fs.readdirSync(outDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replaceAll(`${root}/`, '').replace(/[ \t]+$/gm, ''))
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) generateGrpcTypes(path.join(root, 'src', 'main', 'grpc', 'generated'))
