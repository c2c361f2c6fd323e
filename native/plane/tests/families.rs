//! Addresses of both families at the one port.

mod support;

use std::net::Ipv6Addr;
use std::time::Duration;

use anvil_plane::PeerInfo;
use support::{Node, Setup};

fn on_all_addresses(number: u8) -> Node {
    let setup = Setup::new(number, 0);
    Setup {
        ip: Ipv6Addr::UNSPECIFIED.into(),
        ..setup
    }
    .start()
}

fn reaches(from: &Node, to: &Node, host: &str) -> bool {
    from.plane.remove_peer(to.id());
    from.plane.set_peer(PeerInfo {
        addresses: vec![(host.into(), to.plane.address().port())],
        ..to.info()
    });
    let began = std::time::Instant::now();
    while from.answers(to.id()) != Some(true) {
        if began.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn a_node_on_all_addresses_is_reached_by_either_family_and_by_name() {
    let (all, other) = (on_all_addresses(1), on_all_addresses(2));
    for host in ["::1", "127.0.0.1", "localhost"] {
        assert!(reaches(&other, &all, host), "at {host}");
    }
    other.stop();
    // One that has IPv4 alone; the name may stand for ::1 first.
    let old = Setup::new(3, 0).start();
    for host in ["127.0.0.1", "localhost"] {
        assert!(reaches(&old, &all, host), "at {host}");
        assert!(reaches(&all, &old, host), "from {host}");
    }
    old.stop();
    all.stop();
}
