// Original file: proto/anvil/v1/auth.proto


export interface GetAccessTokenResponse {
  /**
   * A JWT, for the metadata `authorization: Bearer TOKEN` of other calls.
   */
  'accessToken'?: (string);
  'expiresInSeconds'?: (number);
}

export interface GetAccessTokenResponse__Output {
  /**
   * A JWT, for the metadata `authorization: Bearer TOKEN` of other calls.
   */
  'accessToken': (string);
  'expiresInSeconds': (number);
}
