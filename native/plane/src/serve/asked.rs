//! What a peer asks of a shard here, for the log: what fails or takes long is told with the names by which the asking node
//! tells it, the request of its client among them.

use std::time::Instant;

use anvil_engine::RequestId;
use anvil_engine::id::{Id128, hex};
use anvil_engine::target::{ShardError, ShardKey, ShardResult};

use super::accept::Context;
use crate::identity::NodeId;
use crate::limits::SLOW;

#[derive(Clone)]
pub(super) struct Asked {
    /// `write` or `read`.
    pub(super) what: &'static str,
    /// Who asks.
    pub(super) node: NodeId,
    pub(super) drive: Id128,
    pub(super) key: ShardKey,
    pub(super) request: Option<RequestId>,
}

impl Asked {
    pub(super) fn new(
        context: &Context,
        what: &'static str,
        (drive, key): (Id128, ShardKey),
        request: Option<RequestId>,
    ) -> Asked {
        Asked {
            what,
            node: context.node,
            drive,
            key,
            request,
        }
    }

    /// Passes a result on. A shard that is not there, or a group that has moved, is an answer like any other.
    pub(super) fn note<T>(&self, result: ShardResult<T>) -> ShardResult<T> {
        if let Err(error) = &result
            && !matches!(error, ShardError::NotFound | ShardError::Stale { .. })
        {
            tracing::warn!(
                request = self.request.as_ref().map(display),
                node = %self.node,
                drive = %hex(&self.drive),
                blob = %hex(&self.key.blob),
                index = self.key.index,
                %error,
                "a {} of a peer's shard failed",
                self.what
            );
        }
        result
    }

    /// Until it is dropped, the drive works on it.
    pub(super) fn working(&self) -> Working<'_> {
        Working {
            asked: self,
            since: Instant::now(),
        }
    }
}

/// Tells at its end, also where nobody waits any more, if that took long.
pub(super) struct Working<'a> {
    asked: &'a Asked,
    since: Instant,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        if took >= SLOW {
            let asked = self.asked;
            tracing::warn!(
                request = asked.request.as_ref().map(display),
                node = %asked.node,
                drive = %hex(&asked.drive),
                blob = %hex(&asked.key.blob),
                index = asked.key.index,
                ms = took.as_millis() as u64,
                "a {} of a peer's shard takes long",
                asked.what
            );
        }
    }
}
