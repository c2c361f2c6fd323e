//! The drives and placement groups that the data path knows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Error, Kind, Result};
use crate::id::{Id128, hex};
use crate::request::RequestId;
use crate::target::ShardTarget;

/// A placement group: shard `i` of each of its blobs lies on `members[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pg {
    pub id: u64,
    pub generation: u64,
    pub k: usize,
    pub m: usize,
    pub members: Vec<Id128>,
}

impl Pg {
    /// Members that must hold their shard before a write counts as done: k + max(1, m - 1), or k without parity.
    pub fn write_quorum(&self) -> usize {
        if self.m == 0 {
            self.k
        } else {
            self.k + (self.m - 1).max(1)
        }
    }
}

/// Shared by all threads. Lookups are short; writers are rare.
#[derive(Default)]
pub struct Registry {
    local: RwLock<HashMap<Id128, Arc<dyn ShardTarget>>>,
    remote: RwLock<HashMap<Id128, Arc<dyn ShardTarget>>>,
    pgs: RwLock<HashMap<u64, Arc<Pg>>>,
}

impl Registry {
    /// Makes a drive of this process reachable; replaces what stood under its id.
    pub fn add_target(&self, drive: Id128, target: Arc<dyn ShardTarget>) {
        self.local.write().insert(drive, target);
    }

    pub fn remove_target(&self, drive: &Id128) -> Option<Arc<dyn ShardTarget>> {
        self.local.write().remove(drive)
    }

    /// Says how to reach a drive of another process. While a drive of that id is open here, that one is asked.
    pub fn add_remote(&self, drive: Id128, target: Arc<dyn ShardTarget>) {
        self.remote.write().insert(drive, target);
    }

    pub fn remove_remote(&self, drive: &Id128) {
        self.remote.write().remove(drive);
    }

    /// A drive, wherever it is.
    pub fn target(&self, drive: &Id128) -> Option<Arc<dyn ShardTarget>> {
        self.local_target(drive)
            .or_else(|| self.remote.read().get(drive).cloned())
    }

    /// A drive of this process: the only ones that are served to others.
    pub fn local_target(&self, drive: &Id128) -> Option<Arc<dyn ShardTarget>> {
        self.local.read().get(drive).cloned()
    }

    /// Takes over a definition unless a higher generation is known.
    pub fn set_pg(&self, pg: Pg) -> Result<()> {
        if !(1..=anvil_codec::rs::MAX_K).contains(&pg.k)
            || pg.m > anvil_codec::rs::MAX_M
            || pg.members.len() != pg.k + pg.m
        {
            return Err(Error::internal(format!(
                "placement group {} has {} members for code {}+{}",
                pg.id,
                pg.members.len(),
                pg.k,
                pg.m
            )));
        }
        let mut pgs = self.pgs.write();
        match pgs.get(&pg.id) {
            Some(known) if known.generation > pg.generation => tracing::debug!(
                pg = pg.id,
                known = known.generation,
                told = pg.generation,
                "an older definition of a placement group is ignored"
            ),
            _ => {
                pgs.insert(pg.id, Arc::new(pg));
            }
        }
        Ok(())
    }

    pub fn forget_pg(&self, id: u64) {
        self.pgs.write().remove(&id);
    }

    pub fn pg(&self, id: u64) -> Result<Arc<Pg>> {
        self.pgs.read().get(&id).cloned().ok_or_else(|| {
            Error::new(
                Kind::Moved,
                format!("placement group {id} is not known here"),
            )
        })
    }

    /// The targets of a group's members, as a request asks them; None where the drive is not known.
    pub fn members(
        &self,
        pg: &Pg,
        request: Option<&RequestId>,
    ) -> Vec<Option<Arc<dyn ShardTarget>>> {
        let target = |drive| {
            let target = self.target(drive)?;
            let asked = request.and_then(|request| target.for_request(request));
            Some(asked.unwrap_or(target))
        };
        pg.members.iter().map(target).collect()
    }
}

/// A drive's id for log lines.
pub fn drive_name(id: &Id128) -> String {
    hex(id)
}
