// Original file: proto/anvil/v1/cluster.proto


export interface PeerProblem {
  'peer'?: (string);
  'kind'?: (string);
  'text'?: (string);
  'sinceMs'?: (number | string);
}

export interface PeerProblem__Output {
  'peer': (string);
  'kind': (string);
  'text': (string);
  'sinceMs': (number);
}
