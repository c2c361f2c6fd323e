// Original file: proto/anvil/v1/cluster.proto

import type { Node as _anvil_v1_Node, Node__Output as _anvil_v1_Node__Output } from '../../anvil/v1/Node.ts';
import type { Redundancy as _anvil_v1_Redundancy, Redundancy__Output as _anvil_v1_Redundancy__Output } from '../../anvil/v1/Redundancy.ts';
import type { Metadata as _anvil_v1_Metadata, Metadata__Output as _anvil_v1_Metadata__Output } from '../../anvil/v1/Metadata.ts';
import type { PeerProblem as _anvil_v1_PeerProblem, PeerProblem__Output as _anvil_v1_PeerProblem__Output } from '../../anvil/v1/PeerProblem.ts';

export interface ClusterStatus {
  'deploymentId'?: (string);
  'region'?: (string);
  /**
   * The node that answers.
   */
  'nodeId'?: (string);
  'nodes'?: (_anvil_v1_Node)[];
  'redundancy'?: (_anvil_v1_Redundancy | null);
  'metadata'?: (_anvil_v1_Metadata | null);
  /**
   * What a person should know now, most urgent first; empty when all is well.
   */
  'warnings'?: (string)[];
  /**
   * Peers that this node could not have.
   */
  'problems'?: (_anvil_v1_PeerProblem)[];
}

export interface ClusterStatus__Output {
  'deploymentId': (string);
  'region': (string);
  /**
   * The node that answers.
   */
  'nodeId': (string);
  'nodes': (_anvil_v1_Node__Output)[];
  'redundancy': (_anvil_v1_Redundancy__Output | null);
  'metadata': (_anvil_v1_Metadata__Output | null);
  /**
   * What a person should know now, most urgent first; empty when all is well.
   */
  'warnings': (string)[];
  /**
   * Peers that this node could not have.
   */
  'problems': (_anvil_v1_PeerProblem__Output)[];
}
