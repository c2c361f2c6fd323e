/** The settings of one node, parsed and checked (DESIGN §2). Secrets are in here: never log this object. */
export interface Config {
  /** null: the embedded Postgres serves both. */
  globalDatabaseUrl: string | null
  regionalDatabaseUrl: string | null
  region: string
  jwtSecret: string
  /** First the key that new data is wrapped with, then older ones (rotation). 32 bytes each, with their ids. */
  encryptionKeys: { id: string; key: Buffer }[]
  clusterSecrets: string[]
  http: { host: string; port: number }
  grpc: { host: string; port: number }
  quicBindAddr: string
  publicAddrs: string[]
  publicGrpcAddr: string
  mdns: boolean
  bootstrapAddrs: string[]
  /** Empty: the node keeps no data and serves as a gateway. */
  dataDirs: string[]
  zone: string
  erasureCode: 'auto' | { k: number; m: number }
  workers: number
  gatewayThreads: number
  tls: { certFile: string; keyFile: string } | null
  etag: 'md5' | 'fast'
  s3Domain: string | null
  metrics: { host: string; port: number }
  stateDir: string
  memoryLimitBytes: number
  allowUnprotectedWrites: boolean
  rustLog: string
  metadataCacheTtlMs: number
  /** ANVIL_SCRUB_PERIOD_SECS: within this time every stored byte is read and verified once. */
  scrubPeriodMs: number
  /** ANVIL_ORPHAN_AGE_SECS: records on drives younger than this are not suspected to be orphans. */
  orphanAgeMs: number
  /** ANVIL_REPAIR_DELAY_SECS: a node must have been gone for this long before its data is rebuilt on other nodes. */
  repairDelayMs: number
  /** ANVIL_METADATA_EXPORT_PERIOD_SECS: on the embedded Postgres, how often its export is stored on the drives. 0: never. */
  metadataExportPeriodMs: number
  bootstrapAccessKey: string | null
  bootstrapSecretKey: string | null
}

/** One wrong setting, for one line on standard error. */
export interface ConfigMistake {
  variable: string
  was: string
  must: string
}
