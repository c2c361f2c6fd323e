//! The store on the real file system: shards, removals, generations, the index.

mod support;

use anvil_store::{ShardKey, StoreError};
use support::{block, key, new_drive, open};

#[tokio::test]
async fn one_block_shards_survive_a_restart() {
    let (folder, store) = new_drive();
    let writes =
        (0..200u64).map(|number| store.put(key(number), 1, block(number, (number * 131) as usize)));
    for write in writes.map(tokio::spawn).collect::<Vec<_>>() {
        write.await.expect("joined").expect("written");
    }
    assert_eq!(store.stats().shards, 200);
    for reopened in [false, true] {
        let store = if reopened {
            store.close().await;
            open(folder.path()).0
        } else {
            store.clone()
        };
        for number in 0..200u64 {
            let len = (number * 131) as u32;
            let read = store.read(&key(number), 1, 0, 0, len).await.expect("read");
            assert_eq!(read, block(number, len as usize).data);
        }
    }
}

#[tokio::test]
async fn streaming_shards_are_there_when_sealed_and_gone_when_not() {
    let (folder, store) = new_drive();
    let mut sealed = store.begin(key(1), 1, Some(5), 100_000).expect("begun");
    let mut dropped = store.begin(key(2), 1, None, 100_000).expect("begun");
    for number in 0..5 {
        let len = if number == 4 { 777 } else { 100_000 };
        sealed.append(block(number, len)).await.expect("written");
        dropped.append(block(number, len)).await.expect("written");
    }
    assert!(!store.has(&key(1)).expect("asked").expect("known").sealed);
    let (page, _) = store.list(None, 10, u64::MAX).expect("a page");
    assert_eq!(
        page.iter().map(|shard| shard.sealed).collect::<Vec<_>>(),
        [false, false]
    );
    // a slow writer's shard is as old as its seal
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let before_seal = page[0].written_ms + 10;
    assert_eq!(
        store.list(None, 10, before_seal).expect("a page").0.len(),
        2
    );
    sealed.seal().await.expect("sealed");
    drop(dropped);
    assert!(store.has(&key(2)).expect("asked").is_none());
    for reopened in [false, true] {
        let store = if reopened {
            store.close().await;
            open(folder.path()).0
        } else {
            store.clone()
        };
        let state = store.has(&key(1)).expect("asked").expect("there");
        assert_eq!(
            (state.sealed, state.blocks, state.bytes),
            (true, 5, 400_777)
        );
        assert_eq!(
            store.read(&key(1), 1, 3, 0, 100_000).await.expect("read"),
            block(3, 100_000).data
        );
        assert_eq!(
            store
                .read(&key(1), 1, 3, 70_001, 20_000)
                .await
                .expect("read"),
            block(3, 100_000).data.slice(70_001..90_001)
        );
        assert_eq!(
            store.read(&key(1), 1, 4, 776, 1).await.expect("read"),
            block(4, 777).data.slice(776..)
        );
        assert!(matches!(
            store.read(&key(1), 1, 5, 0, 1).await,
            Err(StoreError::Invalid(_))
        ));
        assert!(matches!(
            store.read(&key(2), 1, 0, 0, 1).await,
            Err(StoreError::NotFound)
        ));
        assert_eq!(store.list(None, 10, u64::MAX).expect("a page").0.len(), 1);
        let old = store.list(None, 10, before_seal).expect("a page").0;
        assert_eq!(old.len(), 0);
    }
}

#[tokio::test]
async fn a_small_shard_of_one_announced_block_shares_a_segment() {
    let (folder, store) = new_drive();
    let mut writer = store.begin(key(1), 1, Some(1), 50_000).expect("begun");
    writer.append(block(1, 40_000)).await.expect("taken");
    writer.seal().await.expect("sealed");
    let mut wrong = store.begin(key(2), 1, Some(1), 50_000).expect("begun");
    wrong.append(block(1, 50_000)).await.expect("taken");
    wrong
        .append(block(2, 50_000))
        .await
        .expect("the hint was wrong");
    wrong.seal().await.expect("sealed");
    assert_eq!(
        store.read(&key(1), 1, 0, 0, 40_000).await.expect("read"),
        block(1, 40_000).data
    );
    assert_eq!(
        store.read(&key(2), 1, 0, 0, 50_000).await.expect("read"),
        block(1, 50_000).data
    );
    assert_eq!(
        store.read(&key(2), 1, 1, 0, 50_000).await.expect("read"),
        block(2, 50_000).data
    );
    let names = std::fs::read_dir(folder.path().join("segments")).expect("a folder");
    let dedicated = names.filter(|name| {
        name.as_ref()
            .expect("a name")
            .file_name()
            .to_string_lossy()
            .starts_with("d-")
    });
    assert_eq!(dedicated.count(), 1);
}

#[tokio::test]
async fn removal_and_generations_are_one() {
    let (folder, store) = new_drive();
    for number in 0..4 {
        store
            .put(key(number), 5, block(number, 1000))
            .await
            .expect("written");
    }
    assert!(matches!(
        store.delete(&[(key(0), 5), (key(1), 4)]).await,
        Err(StoreError::StaleGeneration { current: 5 })
    ));
    assert!(store.has(&key(0)).expect("asked").is_some());
    store
        .delete(&[(key(0), 5), (key(99), 5)])
        .await
        .expect("removed");
    assert!(store.has(&key(0)).expect("asked").is_none());
    assert!(matches!(
        store.read(&key(0), 5, 0, 0, 10).await,
        Err(StoreError::NotFound)
    ));
    let other_index = ShardKey { index: 2, ..key(1) };
    store
        .delete(&[(other_index, 5)])
        .await
        .expect("nothing to do");
    assert!(store.has(&key(1)).expect("asked").is_some());
    store
        .read(&key(1), 9, 0, 0, 10)
        .await
        .expect("read, and the generation learnt");
    store.close().await;
    let (store, _) = open(folder.path());
    assert!(store.has(&key(0)).expect("asked").is_none());
    assert!(matches!(
        store.read(&key(1), 8, 0, 0, 10).await,
        Err(StoreError::StaleGeneration { current: 9 })
    ));
    assert!(matches!(
        store.put(key(7), 8, block(7, 10)).await,
        Err(StoreError::StaleGeneration { current: 9 })
    ));
    assert!(matches!(
        store.begin(key(7), 8, None, 10),
        Err(StoreError::StaleGeneration { current: 9 })
    ));
    assert!(matches!(
        store.delete(&[(key(1), 8)]).await,
        Err(StoreError::StaleGeneration { current: 9 })
    ));
}

#[tokio::test]
async fn a_shard_removed_while_it_is_written_cannot_be_sealed() {
    let (_folder, store) = new_drive();
    let mut writer = store.begin(key(1), 1, None, 1000).expect("begun");
    writer.append(block(1, 1000)).await.expect("written");
    store.delete(&[(key(1), 1)]).await.expect("removed");
    assert!(matches!(writer.seal().await, Err(StoreError::NotFound)));
    assert!(store.has(&key(1)).expect("asked").is_none());
}

#[tokio::test]
async fn marks_are_kept() {
    let (folder, store) = new_drive();
    assert_eq!(store.mark("timeline"), None);
    store.set_mark("timeline", "7").await.expect("kept");
    store.set_mark("timeline", "8").await.expect("kept");
    drop(store);
    let (store, _) = open(folder.path());
    assert_eq!(store.mark("timeline").as_deref(), Some("8"));
}

#[tokio::test]
async fn the_index_is_rebuilt_from_the_segments() {
    let (folder, store) = new_drive();
    for number in 0..50 {
        store
            .put(key(number), 2, block(number, 3000))
            .await
            .expect("written");
    }
    store.delete(&[(key(10), 2)]).await.expect("removed");
    let mut writer = store.begin(key(100), 2, None, 5000).expect("begun");
    writer.append(block(100, 5000)).await.expect("written");
    writer.seal().await.expect("sealed");
    store.close().await;
    for damage in [None, Some(vec![0xab; 5000])] {
        let index = folder.path().join("index.redb");
        match damage {
            None => std::fs::remove_file(index).expect("removed"),
            Some(bytes) => std::fs::write(index, bytes).expect("damaged"),
        }
        let (store, report) = open(folder.path());
        assert!(report.index_rebuilt);
        assert_eq!(store.stats().shards, 50);
        assert!(store.has(&key(10)).expect("asked").is_none());
        assert_eq!(
            store.read(&key(49), 2, 0, 0, 3000).await.expect("read"),
            block(49, 3000).data
        );
        assert_eq!(
            store.read(&key(100), 2, 0, 0, 5000).await.expect("read"),
            block(100, 5000).data
        );
        assert!(matches!(
            store.read(&key(49), 1, 0, 0, 3000).await,
            Err(StoreError::StaleGeneration { current: 2 })
        ));
        store.close().await;
    }
}
