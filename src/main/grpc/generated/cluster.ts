import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { ClusterServiceClient as _anvil_v1_ClusterServiceClient, ClusterServiceDefinition as _anvil_v1_ClusterServiceDefinition } from './anvil/v1/ClusterService.ts';
import type { ClusterStatus as _anvil_v1_ClusterStatus, ClusterStatus__Output as _anvil_v1_ClusterStatus__Output } from './anvil/v1/ClusterStatus.ts';
import type { Database as _anvil_v1_Database, Database__Output as _anvil_v1_Database__Output } from './anvil/v1/Database.ts';
import type { Drive as _anvil_v1_Drive, Drive__Output as _anvil_v1_Drive__Output } from './anvil/v1/Drive.ts';
import type { GetStatusRequest as _anvil_v1_GetStatusRequest, GetStatusRequest__Output as _anvil_v1_GetStatusRequest__Output } from './anvil/v1/GetStatusRequest.ts';
import type { Metadata as _anvil_v1_Metadata, Metadata__Output as _anvil_v1_Metadata__Output } from './anvil/v1/Metadata.ts';
import type { Node as _anvil_v1_Node, Node__Output as _anvil_v1_Node__Output } from './anvil/v1/Node.ts';
import type { PeerProblem as _anvil_v1_PeerProblem, PeerProblem__Output as _anvil_v1_PeerProblem__Output } from './anvil/v1/PeerProblem.ts';
import type { Redundancy as _anvil_v1_Redundancy, Redundancy__Output as _anvil_v1_Redundancy__Output } from './anvil/v1/Redundancy.ts';
import type { WatchStatusRequest as _anvil_v1_WatchStatusRequest, WatchStatusRequest__Output as _anvil_v1_WatchStatusRequest__Output } from './anvil/v1/WatchStatusRequest.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  anvil: {
    v1: {
      /**
       * The state of the cluster of one region. Administrators only.
       */
      ClusterService: SubtypeConstructor<typeof grpc.Client, _anvil_v1_ClusterServiceClient> & { service: _anvil_v1_ClusterServiceDefinition }
      ClusterStatus: MessageTypeDefinition<_anvil_v1_ClusterStatus, _anvil_v1_ClusterStatus__Output>
      Database: MessageTypeDefinition<_anvil_v1_Database, _anvil_v1_Database__Output>
      Drive: MessageTypeDefinition<_anvil_v1_Drive, _anvil_v1_Drive__Output>
      GetStatusRequest: MessageTypeDefinition<_anvil_v1_GetStatusRequest, _anvil_v1_GetStatusRequest__Output>
      Metadata: MessageTypeDefinition<_anvil_v1_Metadata, _anvil_v1_Metadata__Output>
      Node: MessageTypeDefinition<_anvil_v1_Node, _anvil_v1_Node__Output>
      PeerProblem: MessageTypeDefinition<_anvil_v1_PeerProblem, _anvil_v1_PeerProblem__Output>
      Redundancy: MessageTypeDefinition<_anvil_v1_Redundancy, _anvil_v1_Redundancy__Output>
      WatchStatusRequest: MessageTypeDefinition<_anvil_v1_WatchStatusRequest, _anvil_v1_WatchStatusRequest__Output>
    }
  }
}

