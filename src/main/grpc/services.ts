/** The services of proto/anvil/v1, loaded from the files themselves: reflection serves the same definitions. */
import { fileURLToPath } from 'node:url'
import { loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { ProtoGrpcType as AuthTypes } from './generated/auth.ts'
import type { ProtoGrpcType as ClusterTypes } from './generated/cluster.ts'

const PROTO_DIR = fileURLToPath(new URL('../../../proto', import.meta.url))

/** What scripts/generate-grpc-types.mjs was told about the same. */
export const packageDefinition = loadSync(['anvil/v1/auth.proto', 'anvil/v1/cluster.proto'], {
  includeDirs: [PROTO_DIR], longs: Number, enums: String, defaults: true, oneofs: true,
})

const types = loadPackageDefinition(packageDefinition) as unknown as AuthTypes & ClusterTypes

export const { AuthService, ClusterService } = types.anvil.v1
