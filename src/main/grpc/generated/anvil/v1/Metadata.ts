// Original file: proto/anvil/v1/cluster.proto

import type { Database as _anvil_v1_Database, Database__Output as _anvil_v1_Database__Output } from '../../anvil/v1/Database.ts';

export interface Metadata {
  'global'?: (_anvil_v1_Database | null);
  'regional'?: (_anvil_v1_Database | null);
}

export interface Metadata__Output {
  'global': (_anvil_v1_Database__Output | null);
  'regional': (_anvil_v1_Database__Output | null);
}
