//! A peer: its connection is made when it becomes known, kept, watched, and made again with back-off when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anvil_engine::target::{ShardError, ShardResult};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::dial::dial;
use super::link::Link;
use crate::limits::{BACK_OFF, CONNECT, SILENCE, WATCH};
use crate::local::{Local, code};
use crate::{PeerInfo, PeerState, PeerStats};

/// Is told when a peer begins or stops to answer.
pub(crate) type Listener = Arc<Mutex<Option<Arc<dyn Fn(PeerState) + Send + Sync>>>>;

#[derive(Clone)]
enum Reach {
    /// The first attempt is under way: worth waiting for.
    Connecting,
    Up(Arc<Link>),
    Down(Arc<str>),
}

pub(crate) struct Peer {
    pub(super) local: Arc<Local>,
    info: Mutex<PeerInfo>,
    changed: Notify,
    reach: watch::Sender<Reach>,
    pub(super) counters: Counters,
    listener: Listener,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    failures: AtomicU64,
    /// Of connections that are over.
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }
}

impl Peer {
    /// Begins to connect at once.
    pub(crate) fn start(local: &Arc<Local>, info: PeerInfo, listener: Listener) -> Arc<Peer> {
        let peer = Arc::new(Peer {
            local: local.clone(),
            info: Mutex::new(info),
            changed: Notify::new(),
            reach: watch::Sender::new(Reach::Connecting),
            counters: Counters::default(),
            listener,
            keeper: Mutex::new(None),
        });
        let keeper = local.runtime.spawn(keep(peer.clone()));
        *peer.keeper.lock() = Some(keeper);
        peer
    }

    /// Answers the process that was known before, if it is another one now; its connection is closed.
    pub(crate) fn update(&self, info: PeerInfo) -> Option<String> {
        let (before, changed) = {
            let mut known = self.info.lock();
            if *known == info {
                return None;
            }
            let changed = known.process != info.process;
            (std::mem::replace(&mut *known, info), changed)
        };
        if changed
            && let Reach::Up(link) = &*self.reach.borrow()
            && link.process == before.process
        {
            link.connection
                .close(code::REPLACED, b"its process is another one now");
        }
        self.reach.send_if_modified(|reach| {
            let down = matches!(reach, Reach::Down(_));
            if down {
                *reach = Reach::Connecting;
            }
            down
        });
        self.changed.notify_one();
        changed.then_some(before.process)
    }

    /// Ends it: connections are closed, requests fail.
    pub(crate) fn stop(&self) {
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.abort();
        }
        let down = Reach::Down("it was removed".into());
        if let Reach::Up(link) = self.reach.send_replace(down) {
            self.count_bytes(&link);
            link.connection.close(code::STOPPED, b"");
        }
    }

    pub(super) fn check_answering(&self) -> ShardResult<()> {
        match &*self.reach.borrow() {
            Reach::Down(why) => Err(ShardError::Unreachable(why.to_string())),
            Reach::Connecting | Reach::Up(_) => Ok(()),
        }
    }

    /// The connection; waits for the first attempt only.
    pub(super) async fn link(&self) -> ShardResult<Arc<Link>> {
        let mut reach = self.reach.subscribe();
        let decided = reach.wait_for(|reach| !matches!(reach, Reach::Connecting));
        match tokio::time::timeout(CONNECT * 2, decided).await {
            Ok(Ok(reach)) => match &*reach {
                Reach::Up(link) => Ok(link.clone()),
                Reach::Down(why) => Err(ShardError::Unreachable(why.to_string())),
                Reach::Connecting => Err(ShardError::Stalled),
            },
            _ => Err(ShardError::Stalled),
        }
    }

    pub(super) async fn request<T>(
        &self,
        work: impl AsyncFnOnce(Arc<Link>) -> ShardResult<T>,
    ) -> ShardResult<T> {
        self.counters.request();
        let result = match self.link().await {
            Ok(link) => work(link).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.counters.failure();
        }
        result
    }

    pub(crate) fn stats(&self) -> PeerStats {
        let mut stats = PeerStats {
            node: self.info.lock().node,
            answering: false,
            connections: 0,
            rtt: Duration::ZERO,
            mtu: 0,
            sent_bytes: self.counters.sent_bytes.load(Relaxed),
            received_bytes: self.counters.received_bytes.load(Relaxed),
            requests: self.counters.requests.load(Relaxed),
            failures: self.counters.failures.load(Relaxed),
        };
        if let Reach::Up(link) = &*self.reach.borrow() {
            stats.answering = true;
            stats.add(&link.connection);
        }
        stats
    }

    fn count_bytes(&self, link: &Link) {
        let path = link.connection.stats();
        self.counters
            .sent_bytes
            .fetch_add(path.udp_tx.bytes, Relaxed);
        self.counters
            .received_bytes
            .fetch_add(path.udp_rx.bytes, Relaxed);
    }

    fn set(&self, reach: Reach) {
        let (answering, reason) = match &reach {
            Reach::Up(_) => (true, String::new()),
            Reach::Down(why) => (false, why.to_string()),
            Reach::Connecting => return,
        };
        let before = self.reach.send_replace(reach);
        let node = self.info.lock().node;
        let changed = match before {
            Reach::Up(_) => !answering,
            Reach::Down(why) => answering || *why != *reason,
            Reach::Connecting => true,
        };
        if !changed {
            return;
        }
        if answering {
            tracing::info!(%node, "the shard plane of a peer answers");
        } else {
            tracing::warn!(%node, reason, "the shard plane of a peer does not answer");
        }
        let listener = self.listener.lock().clone();
        if let Some(listener) = listener {
            listener(PeerState {
                node,
                answering,
                reason,
            });
        }
    }
}

/// Connects, watches, and connects again, until it is aborted.
async fn keep(peer: Arc<Peer>) {
    let mut back_off = BACK_OFF.0;
    loop {
        let info = peer.info.lock().clone();
        match dial(&peer.local, &info).await {
            Ok(link) => {
                back_off = BACK_OFF.0;
                let link = Arc::new(link);
                peer.set(Reach::Up(link.clone()));
                let why = watch(&link).await;
                peer.count_bytes(&link);
                peer.set(Reach::Down(why.into()));
                link.fall_silent();
            }
            Err(failure) => {
                peer.set(Reach::Down(failure.reason.into()));
                tokio::select! {
                    () = tokio::time::sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF.1),
                    () = peer.changed.notified() => back_off = BACK_OFF.0,
                }
            }
        }
    }
}

/// Resolves with a reason when the connection is gone or nothing has come on it for [`SILENCE`].
async fn watch(link: &Link) -> String {
    let received = || link.connection.stats().udp_rx.datagrams;
    let mut seen = (received(), Instant::now());
    let mut last = Instant::now();
    loop {
        tokio::select! {
            reason = link.connection.closed() => return reason.to_string(),
            () = tokio::time::sleep(WATCH) => {}
        }
        let now = Instant::now();
        // What this process slept through is not the peer's silence.
        let own_delay = now
            .saturating_duration_since(last)
            .saturating_sub(WATCH * 2);
        last = now;
        seen.1 += own_delay;
        let count = received();
        if count != seen.0 {
            seen = (count, now);
        } else if now.saturating_duration_since(seen.1) >= SILENCE {
            return "nothing came from it for a second".to_owned();
        }
    }
}
