//! What of a damage is a warning in the log.

mod support;

use std::sync::Arc;

use anvil_engine::target::ShardKey;
use anvil_engine::{Damage, DamageReason};
use parking_lot::Mutex;
use support::{Cluster, blob_id, drive_id};
use tracing::{Event, Level, Metadata, span};

/// Remembers the levels of what is logged.
struct Levels(Arc<Mutex<Vec<Level>>>);

impl tracing::Subscriber for Levels {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        self.0.lock().push(*event.metadata().level());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_shard_that_an_old_view_looks_for_in_vain_is_no_warning_and_is_reported_all_the_same() {
    let cluster = Cluster::new(2, 1, 24 << 20);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = heard.clone();
    cluster
        .engine
        .set_damage_listener(Arc::new(move |damage| listener.lock().push(damage.reason)));
    let levels = Arc::new(Mutex::new(Vec::new()));
    let reasons = [DamageReason::Missing, DamageReason::Crc, DamageReason::Io];
    tracing::subscriber::with_default(Levels(levels.clone()), || {
        for reason in reasons {
            let shard = ShardKey {
                bucket: 1,
                blob: blob_id(1),
                pg: 1,
                index: 0,
            };
            let drive = drive_id(0);
            cluster.engine.report_damage(Damage {
                shard,
                drive,
                reason,
            });
        }
    });
    assert_eq!(*levels.lock(), [Level::DEBUG, Level::WARN, Level::WARN]);
    assert_eq!(*heard.lock(), reasons);
}
