// Original file: proto/anvil/v1/auth.proto


export interface GetAccessTokenRequest {
  /**
   * The app's client id: its S3 access key.
   */
  'clientId'?: (string);
  /**
   * Its secret; while the app rotates, either of the two.
   */
  'clientSecret'?: (string);
}

export interface GetAccessTokenRequest__Output {
  /**
   * The app's client id: its S3 access key.
   */
  'clientId': (string);
  /**
   * Its secret; while the app rotates, either of the two.
   */
  'clientSecret': (string);
}
