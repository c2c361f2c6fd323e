// Original file: proto/anvil/v1/cluster.proto


export interface Database {
  /**
   * ok, away.
   */
  'state'?: (string);
  'reason'?: (string);
  /**
   * Whether Anvil's own supervisor runs it: then there is one copy, on this host.
   */
  'embedded'?: (boolean);
}

export interface Database__Output {
  /**
   * ok, away.
   */
  'state': (string);
  'reason': (string);
  /**
   * Whether Anvil's own supervisor runs it: then there is one copy, on this host.
   */
  'embedded': (boolean);
}
