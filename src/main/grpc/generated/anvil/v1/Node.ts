// Original file: proto/anvil/v1/cluster.proto

import type { Drive as _anvil_v1_Drive, Drive__Output as _anvil_v1_Drive__Output } from '../../anvil/v1/Drive.ts';

export interface Node {
  'id'?: (string);
  'region'?: (string);
  /**
   * '' without ANVIL_ZONE.
   */
  'zone'?: (string);
  'addrs'?: (string)[];
  'grpcAddr'?: (string);
  'version'?: (string);
  /**
   * alive, suspect, dead, left, refused. Of a node that is registered in the database and not heard of by the node that
   * answers, its lease tells: suspect while it holds, dead when it ran out, left when it was given back. refused: it runs and
   * the two refuse each other, so that it is no member; of the node that answers: all others do.
   */
  'state'?: (string);
  /**
   * When the state was last seen to change, by the answering node's clock. 0: never.
   */
  'changedMs'?: (number | string);
  'drives'?: (_anvil_v1_Drive)[];
  /**
   * Why the node that answers cannot have it, or why others cannot have the node that answers; '' when all is well.
   */
  'problem'?: (string);
}

export interface Node__Output {
  'id': (string);
  'region': (string);
  /**
   * '' without ANVIL_ZONE.
   */
  'zone': (string);
  'addrs': (string)[];
  'grpcAddr': (string);
  'version': (string);
  /**
   * alive, suspect, dead, left, refused. Of a node that is registered in the database and not heard of by the node that
   * answers, its lease tells: suspect while it holds, dead when it ran out, left when it was given back. refused: it runs and
   * the two refuse each other, so that it is no member; of the node that answers: all others do.
   */
  'state': (string);
  /**
   * When the state was last seen to change, by the answering node's clock. 0: never.
   */
  'changedMs': (number);
  'drives': (_anvil_v1_Drive__Output)[];
  /**
   * Why the node that answers cannot have it, or why others cannot have the node that answers; '' when all is well.
   */
  'problem': (string);
}
