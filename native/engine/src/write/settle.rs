//! The rule of DESIGN §5.5: wait for all members, leave out only those that failed or stall. Below the quorum, a write is
//! worth something as long as k members have their shard: then its bytes can be read, and written into another group.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::member::Ended;
use crate::error::{Error, Kind};
use crate::target::{ShardError, ShardResult};

/// Members that could still make up the quorum, or k, are given up after this many stall limits.
pub(super) const HOPELESS_AFTER_STALLS: u32 = 30;

/// How the members of one write ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Indexes whose shard is durable.
    pub(super) durable: Vec<usize>,
    /// The others, with the reason; stalled ones too.
    pub(super) left_out: Vec<(usize, ShardError)>,
}

impl Outcome {
    /// The error of a write that has fewer than `least` durable shards.
    pub(super) fn error(&self, least: usize) -> Option<Error> {
        let stale = self.left_out.iter().find_map(|(index, error)| match error {
            ShardError::Stale { current } => Some((index, current)),
            _ => None,
        });
        if let Some((index, current)) = stale {
            let text = format!("member {index} knows generation {current} of the placement group");
            return Some(Error::new(Kind::StaleGeneration, text));
        }
        if self.durable.len() >= least {
            return None;
        }
        let full = self
            .left_out
            .iter()
            .any(|(_, error)| *error == ShardError::Full);
        let kind = if full {
            Kind::InsufficientStorage
        } else {
            Kind::InsufficientRedundancy
        };
        let reasons: Vec<String> = self
            .left_out
            .iter()
            .map(|(index, error)| format!("{index}: {error}"))
            .collect();
        Some(Error::new(
            kind,
            format!(
                "{} shards of at least {least} can be durable; {}",
                self.durable.len(),
                reasons.join(", ")
            ),
        ))
    }
}

/// How many members there are and are needed.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) members: usize,
    /// From here on, members that stall are left out.
    pub(super) quorum: usize,
    /// With fewer the write is lost.
    pub(super) least: usize,
}

/// Collects the reports of all members. `moved(i)`: when member i last went forward. `failed(i)`: why it will not
/// report any more; its writer may have dropped the report together with what else waited for it.
///
/// A report that comes later finds the channel closed; whoever sends it then knows that nobody took note.
pub(super) async fn settle(
    wanted: Wanted,
    stall: Duration,
    mut reports: mpsc::UnboundedReceiver<Ended>,
    moved: impl Fn(usize) -> Instant,
    failed: impl Fn(usize) -> Option<ShardError>,
) -> Outcome {
    let Wanted {
        members,
        quorum,
        least,
    } = wanted;
    let mut ended: Vec<Option<ShardResult<()>>> = vec![None; members];
    let mut last_report = Instant::now();
    loop {
        for (index, end) in ended.iter_mut().enumerate() {
            if end.is_none() {
                *end = failed(index).map(Err);
            }
        }
        let durable = ended.iter().flatten().filter(|end| end.is_ok()).count();
        let awaited: Vec<usize> = (0..members)
            .filter(|index| ended[*index].is_none())
            .collect();
        let possible = durable + awaited.len();
        // Also where the quorum is out of reach for good, and what there is can be read.
        let enough = durable >= quorum || (durable >= least && possible < quorum);
        let limit = if enough {
            stall
        } else {
            stall * HOPELESS_AFTER_STALLS
        };
        let all_stall = awaited
            .iter()
            .all(|index| moved(*index).max(last_report).elapsed() >= limit);
        // Also where nobody is awaited any more.
        if all_stall || possible < least {
            break;
        }
        match tokio::time::timeout(stall / 10, reports.recv()).await {
            Ok(Some((index, result))) => {
                ended[index] = Some(result);
                last_report = Instant::now();
            }
            // All writers are gone.
            Ok(None) => break,
            Err(_) => {}
        }
    }
    reports.close();
    while let Ok((index, result)) = reports.try_recv() {
        ended[index] = Some(result);
    }
    let mut outcome = Outcome::default();
    for (index, end) in ended.into_iter().enumerate() {
        match end.unwrap_or(Err(ShardError::Stalled)) {
            Ok(()) => outcome.durable.push(index),
            Err(error) => outcome.left_out.push((index, error)),
        }
    }
    outcome
}
