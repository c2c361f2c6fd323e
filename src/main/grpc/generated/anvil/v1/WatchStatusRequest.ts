// Original file: proto/anvil/v1/cluster.proto


export interface WatchStatusRequest {
}

export interface WatchStatusRequest__Output {
}
