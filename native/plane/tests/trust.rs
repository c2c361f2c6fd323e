//! Who is not of the cluster gets nothing, and is told why.

mod support;

use std::time::Duration;

use anvil_engine::target::ShardError;
use anvil_plane::PeerInfo;
use support::{Node, Setup, identity, key, until};

/// Starts two nodes that know each other and waits until the first has an opinion of the second.
fn meet(first: Setup, second: Setup) -> (Node, Node) {
    let nodes = (first.start(), second.start());
    nodes.0.knows(&nodes.1);
    nodes.1.knows(&nodes.0);
    assert!(until(|| nodes.0.answers(nodes.1.id()).is_some()));
    (nodes.0, nodes.1)
}

/// The first does not get through to the second, for this reason, and reads nothing.
fn refused(first: Setup, second: Setup, reason: &str) {
    let (first, second) = meet(first, second);
    let told = || first.last_state(second.id()).expect("a state");
    assert!(until(|| told().reason.contains(reason)), "{:?}", told());
    assert!(!told().answering);
    let drive = second.drives[0].0;
    let read = first.remote(&drive).read(key(1, 0), 1, 0, 0, 64);
    let error = first.block_on(read).expect_err("refused");
    assert!(matches!(&error, ShardError::Unreachable(_)), "{error}");
    assert_eq!(*second.drives[0].1.reads.lock(), 0);
    first.stop();
    second.stop();
}

#[test]
fn a_node_with_another_secret_is_refused() {
    let mut stranger = Setup::new(1, 0);
    stranger.secrets = vec!["guessed".into()];
    refused(stranger, Setup::new(2, 1), "wrong cluster secret");
}

#[test]
fn nodes_of_other_deployments_and_regions_are_refused() {
    let mut other = Setup::new(1, 0);
    other.deployment = "another".into();
    refused(other, Setup::new(2, 1), "another deployment");
    let mut other = Setup::new(1, 0);
    other.region = "elsewhere".into();
    refused(other, Setup::new(2, 1), "another region");
}

#[test]
fn a_listed_secret_is_accepted_while_secrets_change() {
    let mut old = Setup::new(1, 0);
    old.secrets = vec!["old".into(), "new".into()];
    let mut new = Setup::new(2, 1);
    new.secrets = vec!["new".into(), "old".into()];
    let (old, new) = meet(old, new);
    assert!(until(|| old.answers(new.id()) == Some(true)));
    assert!(until(|| new.answers(old.id()) == Some(true)));
    old.stop();
    new.stop();
}

#[test]
fn an_address_at_which_another_node_answers_is_not_that_node() {
    let first = Setup::new(1, 0).start();
    let impostor = Setup::new(2, 1).start();
    let expected = identity(3).node;
    first.plane.set_peer(PeerInfo {
        node: expected,
        ..impostor.info()
    });
    let told = || first.last_state(expected).map(|state| state.reason);
    assert!(
        until(|| told().is_some_and(|reason| reason.contains("does not prove to be"))),
        "{:?}",
        told()
    );
    assert_eq!(first.answers(expected), Some(false));
    first.stop();
    impostor.stop();
}

#[test]
fn nobody_at_an_address_costs_a_second_and_then_nothing() {
    let first = Setup::new(1, 0).start();
    // A socket that never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (node, drive) = (identity(2).node, [9; 16]);
    first.plane.set_peer(PeerInfo {
        node,
        process: "p".into(),
        addresses: vec![(
            "127.0.0.1".into(),
            silent.local_addr().expect("bound").port(),
        )],
    });
    first.plane.set_remote_drive(drive, Some(node));
    let read = || first.block_on(first.remote(&drive).read(key(1, 0), 1, 0, 0, 64));
    assert!(matches!(read(), Err(ShardError::Unreachable(_))));
    let started = std::time::Instant::now();
    for _ in 0..1000 {
        assert!(matches!(read(), Err(ShardError::Unreachable(_))));
    }
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "it fails fast"
    );
    assert!(first.remote(&drive).begin(key(1, 0), 1, None, 64).is_err());
    first.stop();
}

#[test]
fn garbage_on_the_port_disturbs_nobody() {
    let (first, second) = meet(Setup::new(1, 0), Setup::new(2, 1));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut state = 7u64;
    for round in 0..3000usize {
        let bytes = support::body(1 + round % 1500, state);
        state = state.wrapping_add(1);
        let mut datagram = bytes;
        // Half of it carries the mark, as a short or a long header.
        if round % 2 == 0 && datagram.len() > 20 {
            if round % 4 == 0 {
                datagram[0] &= 0x7f;
                datagram[1..5].copy_from_slice(b"\xa7nvL");
            } else {
                datagram[0] |= 0xc0;
                datagram[1..6].copy_from_slice(&[0, 0, 0, 1, 12]);
                datagram[6..10].copy_from_slice(b"\xa7nvL");
            }
        }
        socket
            .send_to(&datagram, second.plane.address())
            .expect("sent");
    }
    assert!(until(|| first.answers(second.id()) == Some(true)));
    let drive = second.drives[0].0;
    let has = || first.block_on(first.remote(&drive).has(vec![key(1, 0)]));
    assert!(until(|| has() == Ok(vec![false])));
    first.stop();
    second.stop();
}
