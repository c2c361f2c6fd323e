//! What is not the plane's goes to the listener behind it, and back, within bounds.

mod support;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use support::{Setup, key, until};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a limit");
    socket
}

fn initial(mark: u8) -> Vec<u8> {
    let mut datagram = vec![mark; 1200];
    datagram[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
    datagram
}

#[track_caller]
fn receive(socket: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buffer = vec![0; 2000];
    let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
    buffer.truncate(len);
    (buffer, from)
}

#[test]
fn each_address_has_its_own_way_to_the_listener_and_back() {
    let node = Setup::new(1, 1).start();
    let listener = socket();
    let port = listener.local_addr().expect("bound").port();
    let (first, second) = (socket(), socket());
    node.plane.set_relay(Some(port));
    // Opens nothing: too short, and of no version.
    first
        .send_to(&[0x40; 60], node.plane.address())
        .expect("sent");
    first
        .send_to(&[0xff; 1300], node.plane.address())
        .expect("sent");
    first
        .send_to(&initial(2), node.plane.address())
        .expect("sent");
    let (came, by_first) = receive(&listener);
    assert!(came == initial(2));
    second
        .send_to(&initial(3), node.plane.address())
        .expect("sent");
    let (came, by_second) = receive(&listener);
    assert!(came == initial(3));
    assert_ne!(by_first, by_second, "the listener can tell them apart");
    assert_eq!(node.plane.relayed(), 2);
    for (peer, by) in [(&first, by_first), (&second, by_second)] {
        listener.send_to(b"an answer", by).expect("sent");
        assert_eq!(receive(peer), (b"an answer".to_vec(), node.plane.address()));
        peer.send_to(b"\x40and so on", node.plane.address())
            .expect("sent");
        assert_eq!(receive(&listener), (b"\x40and so on".to_vec(), by));
    }
    node.plane.set_relay(None);
    assert_eq!(node.plane.relayed(), 0);
    node.stop();
}

#[test]
fn a_flood_from_one_network_is_bounded_and_the_plane_goes_on() {
    let (node, other) = (Setup::new(1, 1).start(), Setup::new(2, 0).start());
    other.knows(&node);
    let listener = socket();
    node.plane
        .set_relay(Some(listener.local_addr().expect("bound").port()));
    let flood: Vec<UdpSocket> = (0..300).map(|_| socket()).collect();
    for peer in &flood {
        peer.send_to(&initial(1), node.plane.address())
            .expect("sent");
    }
    assert!(until(|| node.plane.relayed() >= 32));
    // As many as come at once, and a few a second.
    assert!(node.plane.relayed() < 250, "{}", node.plane.relayed());
    let (drive, _) = node.drives[0];
    let has = other.remote(&drive).has(vec![key(1, 0)]);
    assert_eq!(other.block_on(has), Ok(vec![false]));
    node.stop();
    other.stop();
}

#[test]
fn the_listener_itself_is_not_relayed_to_itself() {
    let node = Setup::new(1, 0).start();
    let listener = socket();
    let short = Duration::from_millis(300);
    listener.set_read_timeout(Some(short)).expect("a limit");
    node.plane
        .set_relay(Some(listener.local_addr().expect("bound").port()));
    listener
        .send_to(&initial(1), node.plane.address())
        .expect("sent");
    let came = listener.recv_from(&mut [0; 2000]).expect_err("nothing");
    assert!(matches!(
        came.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    assert_eq!(node.plane.relayed(), 0);
    node.stop();
}
