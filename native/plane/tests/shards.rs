//! Single shards on a drive of another node: what arrives, what is refused, and what is left when it breaks off.

mod support;

use std::sync::Arc;

use anvil_engine::target::{Block, ShardError, ShardSink, ShardTarget};
use anvil_plane::PeerInfo;
use anvil_plane::limits::ReceiveLimits;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use support::{GENERATION, MemoryDrive, Node, Proxy, Setup, blob_id, body, key, until};

const BLOCK_BYTES: usize = 256 << 10;

fn block(number: u64) -> Block {
    Block::new(body(BLOCK_BYTES, number).into())
}

/// Two nodes; the first reaches the second by way of a proxy.
struct Pair {
    near: Node,
    far: Node,
    proxy: Proxy,
}

impl Pair {
    fn new() -> Pair {
        Pair::with(Setup::new(2, 2))
    }

    fn with(far: Setup) -> Pair {
        let (near, far) = (Setup::new(1, 0).start(), far.start());
        let proxy = near.block_on(Proxy::start(far.plane.address().port()));
        let pair = Pair { near, far, proxy };
        pair.near.plane.set_peer(pair.info());
        for (drive, _) in &pair.far.drives {
            pair.near
                .plane
                .set_remote_drive(*drive, Some(pair.far.id()));
        }
        pair.answers(true);
        pair
    }

    fn info(&self) -> PeerInfo {
        PeerInfo {
            addresses: vec![("127.0.0.1".into(), self.proxy.port)],
            ..self.far.info()
        }
    }

    fn answers(&self, expected: bool) {
        assert!(until(|| self.near.answers(self.far.id()) == Some(expected)));
    }

    fn drive(&self, number: usize) -> &MemoryDrive {
        &self.far.drives[number].1
    }

    fn target(&self, number: usize) -> Arc<dyn ShardTarget> {
        self.near.remote(&self.far.drives[number].0)
    }

    fn begin(&self, blob: u64) -> Box<dyn ShardSink> {
        let begun = self
            .target(0)
            .begin(key(blob, 0), GENERATION, None, BLOCK_BYTES);
        begun.expect("begun")
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.near.block_on(future)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.near.stop();
        self.far.stop();
    }
}

#[test]
fn blocks_come_back_whole_and_in_part() {
    let pair = Pair::new();
    let mut sink = pair.begin(1);
    pair.run(async {
        for number in 0..9 {
            sink.append(block(number)).await.expect("written");
        }
        sink.seal().await.expect("sealed");
    });
    let target = pair.target(0);
    for number in 0..9 {
        let read = target.read(key(1, 0), GENERATION, number, 0, BLOCK_BYTES as u32);
        assert!(pair.run(read).expect("read") == block(number.into()).data);
    }
    let part = target.read(key(1, 0), GENERATION, 3, 1000, 5000);
    assert!(pair.run(part).expect("read") == block(3).data.slice(1000..6000));
    let none = target.read(key(1, 0), GENERATION, 3, 0, 0);
    assert!(pair.run(none).expect("read").is_empty());
    let beyond = target.read(key(1, 0), GENERATION, 3, BLOCK_BYTES as u32, 64);
    assert!(matches!(pair.run(beyond), Err(ShardError::Io(_))));
}

#[test]
fn errors_of_the_drive_arrive_as_they_are() {
    let pair = Pair::new();
    let target = pair.target(0);
    let read = |generation| pair.run(target.read(key(1, 0), generation, 0, 0, 64));
    assert_eq!(read(GENERATION), Err(ShardError::NotFound));
    let current = GENERATION;
    assert_eq!(read(current - 1), Err(ShardError::Stale { current }));
    for error in [
        ShardError::Full,
        ShardError::Corrupt,
        ShardError::Failed("fsync".into()),
        ShardError::Stale { current: 99 },
    ] {
        pair.drive(0).fail(Some(error.clone()));
        assert_eq!(read(GENERATION), Err(error.clone()));
        let put = target.put(key(1, 0), GENERATION, block(1));
        assert_eq!(pair.run(put), Err(error.clone()));
        assert_eq!(pair.run(target.has(vec![key(1, 0)])), Err(error.clone()));
        assert_eq!(
            pair.run(target.delete(vec![(key(1, 0), 1)])),
            Err(error.clone())
        );
        let mut sink = pair.begin(2);
        assert_eq!(pair.run(sink.append(block(1))), Err(error.clone()));
        assert_eq!(pair.run(sink.seal()), Err(error));
    }
    let unknown = [0xee; 16];
    pair.near
        .plane
        .set_remote_drive(unknown, Some(pair.far.id()));
    let elsewhere = pair
        .near
        .remote(&unknown)
        .read(key(1, 0), GENERATION, 0, 0, 64);
    assert_eq!(pair.run(elsewhere), Err(ShardError::Closed));
}

#[test]
fn a_block_that_is_not_what_its_checksum_says_is_refused_by_the_receiver() {
    let pair = Pair::new();
    let mut wrong = block(1);
    wrong.crcs[0] ^= 1;
    let mut sink = pair.begin(1);
    assert_eq!(
        pair.run(sink.append(wrong.clone())),
        Err(ShardError::Corrupt)
    );
    drop(sink);
    for bytes in [1000, BLOCK_BYTES, 1 << 20] {
        let mut wrong = Block::new(body(bytes, 1).into());
        wrong.crcs[0] ^= 1;
        let put = pair.target(0).put(key(2, 0), GENERATION, wrong);
        assert_eq!(pair.run(put), Err(ShardError::Corrupt));
    }
    assert!(until(|| pair.drive(0).count() == 0));
    let good = pair.target(0).put(key(3, 0), GENERATION, block(1));
    assert_eq!(pair.run(good), Ok(()), "the others on that stream go on");
}

#[test]
fn what_is_given_up_or_cut_off_in_the_middle_leaves_nothing() {
    let pair = Pair::new();
    let some_blocks = |blob| {
        let mut sink = pair.begin(blob);
        pair.run(async {
            for number in 0..3 {
                sink.append(block(number)).await.expect("written");
            }
        });
        sink
    };
    let (aborted, dropped, cut) = (some_blocks(1), some_blocks(2), some_blocks(3));
    assert_eq!(pair.drive(0).count(), 3);
    aborted.abort();
    drop(dropped);
    assert!(until(|| pair.drive(0).count() == 1));
    pair.proxy.cut(true);
    pair.answers(false);
    assert!(until(|| pair.drive(0).count() == 0), "its writer vanished");
    let sealed = pair.run(cut.seal());
    assert!(
        matches!(sealed, Err(ShardError::Unreachable(_))),
        "{sealed:?}"
    );
    pair.proxy.cut(false);
    pair.answers(true);
    let put = pair.target(0).put(key(4, 0), GENERATION, block(1));
    assert_eq!(pair.run(put), Ok(()));
}

#[test]
fn a_peer_that_falls_silent_fails_reads_soon_and_requests_at_once() {
    let pair = Pair::new();
    pair.drive(0).stall(true);
    let waiting = pair.target(0).read(key(1, 0), GENERATION, 0, 0, 64);
    let waiting = pair.near.engine.handle().spawn(waiting);
    let reads = pair.proxy.carried();
    assert!(
        until(|| pair.proxy.carried() > reads + 1),
        "it is on its way"
    );
    pair.proxy.cut(true);
    let read = pair.run(waiting).expect("no panic");
    assert!(
        matches!(read, Err(ShardError::Stalled | ShardError::Unreachable(_))),
        "{read:?}"
    );
    pair.answers(false);
    let put = pair.target(1).put(key(1, 0), GENERATION, block(1));
    assert!(matches!(pair.run(put), Err(ShardError::Unreachable(_))));
    pair.drive(0).stall(false);
}

#[test]
fn a_new_process_is_found_and_the_connection_to_the_one_before_is_closed() {
    let pair = Pair::new();
    let mut sink = pair.begin(1);
    pair.run(sink.append(block(1))).expect("written");
    // Gossip says so before the old one is missed.
    pair.near.plane.set_peer(PeerInfo {
        process: "the next".into(),
        ..pair.info()
    });
    let written = pair.run(sink.append(block(2)));
    assert!(
        matches!(written, Err(ShardError::Unreachable(_))),
        "{written:?}"
    );
    drop(sink);
    assert!(until(|| pair.drive(0).count() == 0));

    let port = pair.far.plane.address().port();
    pair.far.stop();
    let mut setup = Setup::new(2, 0);
    (setup.port, setup.process) = (port, "the next".into());
    let next = setup.start();
    next.engine
        .registry
        .add_target(pair.far.drives[0].0, Arc::new(pair.drive(0).clone()));
    let put = || pair.run(pair.target(0).put(key(2, 0), GENERATION, block(1)));
    assert!(until(|| put() == Ok(())));
    next.stop();
}

#[test]
fn many_small_shards_go_side_by_side() {
    let pair = Pair::new();
    let target = pair.target(0);
    const SHARDS: u64 = 5000;
    let puts = (0..SHARDS).map(|blob| {
        let block = Block::new(body(640 + 64 * (blob as usize % 50), blob).into());
        target.put(key(blob, 0), GENERATION, block)
    });
    let put = pair.run(join_all(puts));
    assert!(put.iter().all(Result::is_ok));
    let keys: Vec<_> = (0..SHARDS + 10).map(|blob| key(blob, 0)).collect();
    let held = pair.run(target.has(keys.clone())).expect("asked");
    assert_eq!(held.iter().filter(|held| **held).count() as u64, SHARDS);
    assert!(held[..SHARDS as usize].iter().all(|held| *held));
    let reads = (0..SHARDS).map(|blob| target.read(key(blob, 0), GENERATION, 0, 0, 640));
    for (blob, read) in (0..).zip(pair.run(join_all(reads))) {
        let len = 640 + 64 * (blob as usize % 50);
        assert!(read.expect("read") == body(len, blob)[..640]);
    }
    let all = keys.iter().map(|key| (*key, GENERATION)).collect();
    pair.run(target.delete(all)).expect("removed");
    assert_eq!(pair.drive(0).count(), 0);
}

#[test]
fn a_slow_drive_holds_bounded_memory_and_holds_up_nobody_else() {
    let mut far = Setup::new(2, 2);
    far.receive = ReceiveLimits {
        total_bytes: 8 << 20,
        peer_bytes: 6 << 20,
        drive_bytes: 2 << 20,
    };
    let pair = Pair::with(far);
    pair.drive(0).stall(true);
    // Far more than may be held, on many streams.
    const STREAMS: u64 = 24;
    const BLOCKS: u64 = 12;
    let mut sinks: Vec<_> = (0..STREAMS).map(|blob| pair.begin(blob)).collect();
    let mut waiting: FuturesUnordered<_> = sinks
        .iter_mut()
        .flat_map(|sink| (0..BLOCKS).map(|number| sink.append(block(number))))
        .collect();
    let puts = (100..500).map(|blob| {
        pair.target(0).put(
            key(blob, 0),
            GENERATION,
            Block::new(body(64 << 10, blob).into()),
        )
    });
    let puts = pair.near.engine.handle().spawn(join_all(puts));
    assert!(until(|| pair.far.plane.held_bytes() >= 1 << 20));
    for blob in 1000..1040 {
        let put = pair.target(1).put(key(blob, 0), GENERATION, block(blob));
        assert_eq!(pair.run(put), Ok(()), "the other drive's streams go on");
        assert!(pair.far.plane.held_bytes() <= 4 << 20);
    }
    pair.drive(0).stall(false);
    pair.run(async {
        while let Some(appended) = waiting.next().await {
            assert_eq!(appended, Ok(()));
        }
    });
    drop(waiting);
    for sink in sinks {
        assert_eq!(pair.run(sink.seal()), Ok(()));
    }
    let put = pair.run(puts).expect("no panic");
    assert!(put.iter().all(Result::is_ok));
    assert!(until(|| pair.far.plane.held_bytes() == 0));
    let last = pair.target(0).read(
        key(STREAMS - 1, 0),
        GENERATION,
        BLOCKS as u32 - 1,
        0,
        BLOCK_BYTES as u32,
    );
    assert!(pair.run(last).expect("read") == block(BLOCKS - 1).data);
}

#[test]
fn a_drive_that_is_open_here_is_asked_here() {
    let pair = Pair::new();
    let (id, _) = pair.far.drives[0];
    let own = MemoryDrive::default();
    pair.near
        .engine
        .registry
        .add_target(id, Arc::new(own.clone()));
    let target = pair.near.engine.registry.target(&id).expect("a drive");
    assert!(target.is_local());
    pair.near.engine.registry.remove_target(&id);
    assert!(
        !pair
            .near
            .engine
            .registry
            .target(&id)
            .expect("a drive")
            .is_local()
    );
    pair.near.plane.set_remote_drive(id, None);
    assert!(pair.near.engine.registry.target(&id).is_none());
    pair.near.plane.set_remote_drive(id, Some(pair.far.id()));
    pair.near.plane.remove_peer(pair.far.id());
    assert!(pair.near.engine.registry.target(&id).is_none());
    pair.near.plane.set_peer(pair.info());
    let put = pair.near.remote(&id).put(key(1, 0), GENERATION, block(1));
    assert_eq!(
        pair.run(put),
        Ok(()),
        "known again, its drives are reached again"
    );
    assert_eq!(blob_id(1), key(1, 0).blob);
}
