// Original file: proto/anvil/v1/cluster.proto


export interface Redundancy {
  /**
   * Code of new objects, as K+M; '' when none can be written.
   */
  'code'?: (string);
  /**
   * Blobs (objects, or parts of them) with a shard that waits for its repair, and those shards.
   */
  'objectsBelowFull'?: (number | string);
  'shardsToRepair'?: (number | string);
  /**
   * Whether the loss of a single drive, or of a single node, could lose data now.
   */
  'singleDriveAtRisk'?: (boolean);
  'singleNodeAtRisk'?: (boolean);
  /**
   * Placement groups with a member that is not there now, or of a narrower code than new ones, and the bytes of objects in
   * them (approximate).
   */
  'groupsBelowFull'?: (number | string);
  'bytesBelowFull'?: (number | string);
  /**
   * The same of a single zone; a node without ANVIL_ZONE is a zone of its own.
   */
  'singleZoneAtRisk'?: (boolean);
}

export interface Redundancy__Output {
  /**
   * Code of new objects, as K+M; '' when none can be written.
   */
  'code': (string);
  /**
   * Blobs (objects, or parts of them) with a shard that waits for its repair, and those shards.
   */
  'objectsBelowFull': (number);
  'shardsToRepair': (number);
  /**
   * Whether the loss of a single drive, or of a single node, could lose data now.
   */
  'singleDriveAtRisk': (boolean);
  'singleNodeAtRisk': (boolean);
  /**
   * Placement groups with a member that is not there now, or of a narrower code than new ones, and the bytes of objects in
   * them (approximate).
   */
  'groupsBelowFull': (number);
  'bytesBelowFull': (number);
  /**
   * The same of a single zone; a node without ANVIL_ZONE is a zone of its own.
   */
  'singleZoneAtRisk': (boolean);
}
