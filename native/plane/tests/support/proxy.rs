//! A path between two nodes that can be cut, or made to lose datagrams.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::net::UdpSocket;

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cut: AtomicBool,
    /// Datagrams that have come from the side of the dialler.
    carried: AtomicU64,
}

impl Proxy {
    /// Carries datagrams to 127.0.0.1:`port`. On the runtime of the caller.
    pub async fn start(port: u16) -> Proxy {
        let outside = Arc::new(
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("a socket"),
        );
        let own = outside.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        tokio::spawn(carry(outside, port, state.clone()));
        Proxy { port: own, state }
    }

    /// Nothing comes through any more, in either direction.
    pub fn cut(&self, cut: bool) {
        self.state.cut.store(cut, Relaxed);
    }

    pub fn carried(&self) -> u64 {
        self.state.carried.load(Relaxed)
    }
}

async fn carry(outside: Arc<UdpSocket>, port: u16, state: Arc<State>) {
    let mut inside: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok((len, from)) = outside.recv_from(&mut buffer).await {
        let known = inside.get(&from).cloned();
        let socket = match known {
            Some(socket) => socket,
            None => {
                let socket = Arc::new(connected(port).await);
                let back = carry_back(socket.clone(), outside.clone(), from, state.clone());
                tokio::spawn(back);
                inside.insert(from, socket.clone());
                socket
            }
        };
        if !state.cut.load(Relaxed) {
            state.carried.fetch_add(1, Relaxed);
            let _ = socket.send(&buffer[..len]).await;
        }
    }
}

async fn connected(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let socket = socket.expect("a socket");
    let peer = (Ipv4Addr::LOCALHOST, port);
    socket.connect(peer).await.expect("connected");
    socket
}

async fn carry_back(
    inside: Arc<UdpSocket>,
    outside: Arc<UdpSocket>,
    to: SocketAddr,
    state: Arc<State>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        if let Ok(len) = inside.recv(&mut buffer).await
            && !state.cut.load(Relaxed)
        {
            let _ = outside.send_to(&buffer[..len], to).await;
        }
    }
}
