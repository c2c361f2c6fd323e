import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { AuthServiceClient as _anvil_v1_AuthServiceClient, AuthServiceDefinition as _anvil_v1_AuthServiceDefinition } from './anvil/v1/AuthService.ts';
import type { GetAccessTokenRequest as _anvil_v1_GetAccessTokenRequest, GetAccessTokenRequest__Output as _anvil_v1_GetAccessTokenRequest__Output } from './anvil/v1/GetAccessTokenRequest.ts';
import type { GetAccessTokenResponse as _anvil_v1_GetAccessTokenResponse, GetAccessTokenResponse__Output as _anvil_v1_GetAccessTokenResponse__Output } from './anvil/v1/GetAccessTokenResponse.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  anvil: {
    v1: {
      /**
       * Access tokens for the other services.
       */
      AuthService: SubtypeConstructor<typeof grpc.Client, _anvil_v1_AuthServiceClient> & { service: _anvil_v1_AuthServiceDefinition }
      GetAccessTokenRequest: MessageTypeDefinition<_anvil_v1_GetAccessTokenRequest, _anvil_v1_GetAccessTokenRequest__Output>
      GetAccessTokenResponse: MessageTypeDefinition<_anvil_v1_GetAccessTokenResponse, _anvil_v1_GetAccessTokenResponse__Output>
    }
  }
}

