// Original file: proto/anvil/v1/cluster.proto


export interface GetStatusRequest {
}

export interface GetStatusRequest__Output {
}
