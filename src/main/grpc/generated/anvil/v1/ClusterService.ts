// Original file: proto/anvil/v1/cluster.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { ClusterStatus as _anvil_v1_ClusterStatus, ClusterStatus__Output as _anvil_v1_ClusterStatus__Output } from '../../anvil/v1/ClusterStatus.ts';
import type { GetStatusRequest as _anvil_v1_GetStatusRequest, GetStatusRequest__Output as _anvil_v1_GetStatusRequest__Output } from '../../anvil/v1/GetStatusRequest.ts';
import type { WatchStatusRequest as _anvil_v1_WatchStatusRequest, WatchStatusRequest__Output as _anvil_v1_WatchStatusRequest__Output } from '../../anvil/v1/WatchStatusRequest.ts';

/**
 * The state of the cluster of one region. Administrators only.
 */
export interface ClusterServiceClient extends grpc.Client {
  GetStatus(argument: _anvil_v1_GetStatusRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;
  GetStatus(argument: _anvil_v1_GetStatusRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;
  GetStatus(argument: _anvil_v1_GetStatusRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;
  GetStatus(argument: _anvil_v1_GetStatusRequest, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _anvil_v1_GetStatusRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _anvil_v1_GetStatusRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _anvil_v1_GetStatusRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _anvil_v1_GetStatusRequest, callback: grpc.requestCallback<_anvil_v1_ClusterStatus__Output>): grpc.ClientUnaryCall;

  /**
   * The state now, and again whenever it changed, at most once a second.
   */
  WatchStatus(argument: _anvil_v1_WatchStatusRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_anvil_v1_ClusterStatus__Output>;
  WatchStatus(argument: _anvil_v1_WatchStatusRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_anvil_v1_ClusterStatus__Output>;
  /**
   * The state now, and again whenever it changed, at most once a second.
   */
  watchStatus(argument: _anvil_v1_WatchStatusRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_anvil_v1_ClusterStatus__Output>;
  watchStatus(argument: _anvil_v1_WatchStatusRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_anvil_v1_ClusterStatus__Output>;

}

/**
 * The state of the cluster of one region. Administrators only.
 */
export interface ClusterServiceHandlers extends grpc.UntypedServiceImplementation {
  GetStatus: grpc.handleUnaryCall<_anvil_v1_GetStatusRequest__Output, _anvil_v1_ClusterStatus>;

  /**
   * The state now, and again whenever it changed, at most once a second.
   */
  WatchStatus: grpc.handleServerStreamingCall<_anvil_v1_WatchStatusRequest__Output, _anvil_v1_ClusterStatus>;

}

export interface ClusterServiceDefinition extends grpc.ServiceDefinition {
  GetStatus: MethodDefinition<_anvil_v1_GetStatusRequest, _anvil_v1_ClusterStatus, _anvil_v1_GetStatusRequest__Output, _anvil_v1_ClusterStatus__Output>
  WatchStatus: MethodDefinition<_anvil_v1_WatchStatusRequest, _anvil_v1_ClusterStatus, _anvil_v1_WatchStatusRequest__Output, _anvil_v1_ClusterStatus__Output>
}
