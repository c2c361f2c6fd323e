// Original file: proto/anvil/v1/cluster.proto


export interface Drive {
  'id'?: (string);
  /**
   * online, full, offline (registered and not announced by its node), lost (an operator said that it is gone).
   */
  'state'?: (string);
  'path'?: (string);
  'totalBytes'?: (number | string);
  /**
   * -1: not known, since its node does not announce it.
   */
  'freeBytes'?: (number | string);
}

export interface Drive__Output {
  'id': (string);
  /**
   * online, full, offline (registered and not announced by its node), lost (an operator said that it is gone).
   */
  'state': (string);
  'path': (string);
  'totalBytes': (number);
  /**
   * -1: not known, since its node does not announce it.
   */
  'freeBytes': (number);
}
