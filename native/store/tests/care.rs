//! The store on the real file system: what a drive folder is, its lock, its reserve, damage, compaction.

mod support;

use anvil_store::{DriveStore, OpenOptions, Probe, StoreError};
use support::{DEPLOYMENT, DRIVE, block, key, new_drive, open, options};

#[tokio::test]
async fn probe_tells_what_lies_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    assert_eq!(
        DriveStore::probe(&at("missing")).expect("a look"),
        Probe::Missing
    );
    std::fs::create_dir_all(at("empty/lost+found")).expect("made");
    assert_eq!(
        DriveStore::probe(&at("empty")).expect("a look"),
        Probe::Empty
    );
    std::fs::create_dir(at("foreign")).expect("made");
    std::fs::write(at("foreign/holiday.jpg"), "x").expect("made");
    assert_eq!(
        DriveStore::probe(&at("foreign")).expect("a look"),
        Probe::Foreign {
            found: "holiday.jpg".into()
        }
    );
    assert!(matches!(
        DriveStore::create(&at("foreign"), DEPLOYMENT, DRIVE),
        Err(StoreError::Mismatch(_))
    ));
    for name in ["missing", "empty"] {
        DriveStore::create(&at(name), DEPLOYMENT, DRIVE).expect("made");
        let drive = Probe::Drive {
            drive: DRIVE,
            deployment: DEPLOYMENT,
            format_version: 1,
        };
        assert_eq!(DriveStore::probe(&at(name)).expect("a look"), drive);
        assert!(matches!(
            DriveStore::create(&at(name), DEPLOYMENT, DRIVE),
            Err(StoreError::Mismatch(_))
        ));
    }
    let (store, _) = open(&at("empty"));
    store.put(key(1), 1, block(1, 10)).await.expect("written");
    store.close().await;
    std::fs::remove_file(at("empty/anvil-drive.json")).expect("removed");
    assert!(matches!(
        DriveStore::probe(&at("empty")).expect("a look"),
        Probe::Foreign { .. }
    ));
}

#[tokio::test]
async fn one_at_a_time_and_only_its_own() {
    let (folder, store) = new_drive();
    assert!(matches!(
        DriveStore::open(options(folder.path())),
        Err(StoreError::Locked)
    ));
    let clone = store.clone();
    drop(store);
    assert!(matches!(
        DriveStore::open(options(folder.path())),
        Err(StoreError::Locked)
    ));
    clone.close().await;
    assert!(matches!(
        clone.put(key(1), 1, block(1, 1)).await,
        Err(StoreError::Closed)
    ));
    let foreign = OpenOptions {
        deployment: [9; 16],
        ..options(folder.path())
    };
    assert!(matches!(
        DriveStore::open(foreign),
        Err(StoreError::Mismatch(_))
    ));
    let another = OpenOptions {
        drive: Some([9; 16]),
        ..options(folder.path())
    };
    assert!(matches!(
        DriveStore::open(another),
        Err(StoreError::Mismatch(_))
    ));
    let same = OpenOptions {
        drive: Some(DRIVE),
        ..options(folder.path())
    };
    assert_eq!(DriveStore::open(same).expect("opens").0.drive(), DRIVE);
}

#[tokio::test]
async fn the_reserve_is_not_touched() {
    let (folder, store) = new_drive();
    store.put(key(1), 1, block(1, 1000)).await.expect("written");
    store.close().await;
    let (store, _) = DriveStore::open(OpenOptions {
        reserve_bytes: 1 << 60,
        ..options(folder.path())
    })
    .expect("opens");
    assert!(matches!(
        store.put(key(2), 1, block(2, 1000)).await,
        Err(StoreError::Full)
    ));
    assert!(matches!(
        store.begin(key(2), 1, None, 1000),
        Err(StoreError::Full)
    ));
    assert_eq!(store.stats().state, anvil_store::DriveState::Full);
    store.delete(&[(key(1), 1)]).await.expect("removals go on");
    store.compact(1 << 20).await.expect("compaction goes on");
}

#[tokio::test]
async fn damage_is_found_and_never_served() {
    let (folder, store) = new_drive();
    for number in 0..20 {
        store
            .put(key(number), 1, block(number, 50_000))
            .await
            .expect("written");
    }
    store.close().await;
    for entry in std::fs::read_dir(folder.path().join("segments")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mut bytes = std::fs::read(&path).expect("read");
        let needle = &block(7, 50_000).data[1000..1032];
        if let Some(at) = bytes.windows(32).position(|window| window == needle) {
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).expect("written");
        }
    }
    let (store, _) = open(folder.path());
    assert!(matches!(
        store.read(&key(7), 1, 0, 0, 10).await,
        Err(StoreError::Corrupt { .. })
    ));
    // The other unit of the same block is good.
    assert_eq!(
        store.read(&key(7), 1, 0, 40_000, 10).await.expect("read"),
        block(7, 50_000).data.slice(40_000..40_010)
    );
    let (mut cursor, mut damaged, mut shards) = (None, Vec::new(), 0);
    loop {
        let step = store.scrub(cursor, 150_000).await.expect("scrubbed");
        shards += step.shards;
        damaged.extend(step.damaged);
        cursor = step.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(shards, 20);
    assert_eq!(
        damaged.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        [key(7)]
    );
    assert!(store.stats().crc_errors >= 2);
}

#[tokio::test]
async fn compaction_gives_room_back_while_others_read_and_write() {
    let (folder, store) = new_drive();
    for number in 0..200 {
        store
            .put(key(number), 1, block(number, 30_000))
            .await
            .expect("written");
    }
    let before = store.stats();
    let dead: Vec<_> = (0..200)
        .filter(|number| number % 5 != 0)
        .map(|number| (key(number), 1))
        .collect();
    store.delete(&dead).await.expect("removed");
    assert!(store.stats().dead_bytes > before.dead_bytes + 4_000_000);
    let reader = tokio::spawn({
        let store = store.clone();
        async move {
            for round in 0..20 {
                for number in (0..200).step_by(5) {
                    assert_eq!(
                        store
                            .read(&key(number), 1, 0, 0, 30_000)
                            .await
                            .expect("read"),
                        block(number, 30_000).data
                    );
                }
                store
                    .put(key(1000 + round), 1, block(1000 + round, 9_000))
                    .await
                    .expect("written");
            }
        }
    });
    let mut freed = 0;
    loop {
        let step = store.compact(200_000).await.expect("compacted");
        freed += step.freed_bytes;
        if !step.more {
            break;
        }
    }
    reader.await.expect("all read");
    assert!(freed >= 4 << 20, "freed {freed}");
    assert!(store.stats().dead_bytes < 3 << 20, "{:?}", store.stats());
    store.close().await;
    for rebuilt in [false, true] {
        if rebuilt {
            std::fs::remove_file(folder.path().join("index.redb")).expect("removed");
        }
        let (store, _) = open(folder.path());
        assert_eq!(store.stats().shards, 60);
        for number in (0..200).step_by(5) {
            assert_eq!(
                store
                    .read(&key(number), 1, 0, 0, 30_000)
                    .await
                    .expect("read"),
                block(number, 30_000).data
            );
        }
        store.close().await;
    }
}

#[tokio::test]
async fn a_word_of_failure_that_cannot_be_read_is_no_word_that_all_is_well() {
    let (folder, store) = new_drive();
    drop(store);
    // A folder of that name cannot be opened as a file.
    std::fs::create_dir(folder.path().join("failed")).expect("made");
    let opened = DriveStore::open(options(folder.path()));
    assert!(opened.is_err(), "opened all the same");
}
