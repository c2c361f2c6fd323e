// Original file: proto/anvil/v1/auth.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { GetAccessTokenRequest as _anvil_v1_GetAccessTokenRequest, GetAccessTokenRequest__Output as _anvil_v1_GetAccessTokenRequest__Output } from '../../anvil/v1/GetAccessTokenRequest.ts';
import type { GetAccessTokenResponse as _anvil_v1_GetAccessTokenResponse, GetAccessTokenResponse__Output as _anvil_v1_GetAccessTokenResponse__Output } from '../../anvil/v1/GetAccessTokenResponse.ts';

/**
 * Access tokens for the other services.
 */
export interface AuthServiceClient extends grpc.Client {
  /**
   * Exchanges an app's credentials (the S3 access key and secret) for a short-lived token. UNAUTHENTICATED when they are
   * not right, whichever of them is not.
   */
  GetAccessToken(argument: _anvil_v1_GetAccessTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;
  GetAccessToken(argument: _anvil_v1_GetAccessTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;
  GetAccessToken(argument: _anvil_v1_GetAccessTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;
  GetAccessToken(argument: _anvil_v1_GetAccessTokenRequest, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;
  /**
   * Exchanges an app's credentials (the S3 access key and secret) for a short-lived token. UNAUTHENTICATED when they are
   * not right, whichever of them is not.
   */
  getAccessToken(argument: _anvil_v1_GetAccessTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;
  getAccessToken(argument: _anvil_v1_GetAccessTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;
  getAccessToken(argument: _anvil_v1_GetAccessTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;
  getAccessToken(argument: _anvil_v1_GetAccessTokenRequest, callback: grpc.requestCallback<_anvil_v1_GetAccessTokenResponse__Output>): grpc.ClientUnaryCall;

}

/**
 * Access tokens for the other services.
 */
export interface AuthServiceHandlers extends grpc.UntypedServiceImplementation {
  /**
   * Exchanges an app's credentials (the S3 access key and secret) for a short-lived token. UNAUTHENTICATED when they are
   * not right, whichever of them is not.
   */
  GetAccessToken: grpc.handleUnaryCall<_anvil_v1_GetAccessTokenRequest__Output, _anvil_v1_GetAccessTokenResponse>;

}

export interface AuthServiceDefinition extends grpc.ServiceDefinition {
  GetAccessToken: MethodDefinition<_anvil_v1_GetAccessTokenRequest, _anvil_v1_GetAccessTokenResponse, _anvil_v1_GetAccessTokenRequest__Output, _anvil_v1_GetAccessTokenResponse__Output>
}
