//! What nodes log about the shards of a client's request names the request, on both sides.

mod support;

use std::fmt::{self, Write};
use std::sync::{LazyLock, OnceLock};

use anvil_engine::target::{Block, ShardError};
use anvil_engine::{ReadOptions, RequestId, UploadOptions};
use parking_lot::Mutex;
use support::{GENERATION, blob_id, body, cluster, group, key, put, source, until};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

static LINES: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);

struct Lines;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::DEBUG {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        LINES.lock().push(text.0 + " ");
    }
}

fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| tracing_subscriber::registry().with(Lines).init());
}

fn request(id: &str) -> RequestId {
    RequestId::parse(id).expect("a request id")
}

/// Whether a line with all of these words comes.
fn told(id: &str, words: &[&str]) -> bool {
    let id = format!(" request={id} ");
    until(|| {
        let lines = LINES.lock();
        lines
            .iter()
            .any(|line| line.contains(&id) && words.iter().all(|word| line.contains(word)))
    })
}

#[test]
fn a_node_names_the_request_whose_shard_fails_or_takes_long() {
    listen();
    let nodes = cluster(2, 1);
    let (drive, far) = &nodes[1].drives[0];
    let remote = nodes[0].remote(drive);
    let asked = |id| remote.for_request(&request(id)).expect("a drive of a peer");
    let block = |bytes: usize| Block::new(body(bytes, 1).into());
    let run = |operation| nodes[0].block_on(operation);
    assert!(until(|| nodes[0].answers(nodes[1].id()) == Some(true)));

    far.fail(Some(ShardError::Failed("fsync".into())));
    // small ones of many requests share a stream, a large one has its own
    for (id, bytes) in [("SMALL-1", 4096), ("SMALL-2", 4096), ("LARGE", 8 << 20)] {
        run(asked(id).put(key(1, 0), GENERATION, block(bytes))).expect_err("it fails");
        assert!(told(id, &["a write of", "fsync", "index=0 "]), "{id}");
    }
    let mut sink = asked("STREAMED")
        .begin(key(2, 3), GENERATION, None, 4096)
        .expect("begun");
    run(sink.append(block(4096))).expect_err("it fails");
    assert!(told("STREAMED", &["a write of", "fsync", "index=3 "]));
    nodes[0]
        .block_on(asked("READ").read(key(1, 0), GENERATION, 0, 0, 64))
        .expect_err("it fails");
    assert!(told("READ", &["a read of", "fsync"]));

    far.fail(None);
    far.stall(true);
    nodes[0].block_on(async {
        let slow = asked("SLOW").put(key(3, 0), GENERATION, block(4096));
        let letting_go = async {
            tokio::time::sleep(anvil_plane::limits::SLOW).await;
            far.stall(false);
        };
        let (written, ()) = tokio::join!(slow, letting_go);
        written.expect("written");
    });
    assert!(told("SLOW", &["a write of", "takes long"]));
    // what nobody asked for by name is told without one
    assert!(LINES.lock().iter().all(|line| !line.contains("request= ")));
    nodes.iter().for_each(|node| node.stop());
}

#[test]
fn a_write_and_a_read_name_their_request_where_a_member_is_left_out() {
    listen();
    let nodes = cluster(2, 2);
    group(&nodes, 2, 2);
    let (_, broken) = &nodes[1].drives[0];
    broken.fail(Some(ShardError::Io("no answer".into())));
    for (number, bytes) in [(1u64, 100_000), (2, 9 << 20)] {
        let id = format!("WRITE-{number}");
        let body = body(bytes, number);
        let mut options = UploadOptions::new(1, blob_id(number), 1);
        options.content_length = Some(bytes as u64);
        options.request = Some(request(&id));
        let written = nodes[0].block_on(put(&nodes[0].engine, options, &body, 64 << 10));
        let written = written.expect("written");
        assert_eq!(written.missing.len(), 1);
        let blob = anvil_engine::id::hex(&blob_id(number));
        assert!(told(
            &id,
            &["without all of its members", "no answer", &blob]
        ));
        // the other node's own line
        assert!(told(
            &id,
            &["a write of a peer's shard failed", "no answer", &blob]
        ));

        let id = format!("READ-{number}");
        let mut from = source(blob_id(number), &written, None);
        from.request = Some(request(&id));
        let read = nodes[0].block_on(nodes[0].engine.read_all(ReadOptions {
            source: from,
            offset: 0,
            length: written.size,
        }));
        assert!(read.expect("read") == body);
        let missing = written.missing[0];
        if missing < 2 {
            assert!(told(&id, &["gave no good bytes", &blob]));
        }
    }
    nodes.iter().for_each(|node| node.stop());
}
