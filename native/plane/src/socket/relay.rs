//! Carries what is not the plane's between peers and the libp2p listener on a loopback port: a socket per remote address,
//! so that the listener can tell them apart and its answers find their way back.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quinn::AsyncUdpSocket;
use quinn::udp::Transmit;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::admission::{Admission, Decision};
use crate::limits::RELAY_DATAGRAM_BYTES;

/// How often entries that are over are looked for.
const SWEEP: Duration = Duration::from_secs(2);

pub(crate) struct Relay {
    /// The socket that peers know, for as long as quinn has it.
    outside: Weak<dyn AsyncUdpSocket>,
    outside_address: SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Port of the listener; None: everything is dropped.
    listener: Option<u16>,
    admission: Admission,
    open: HashMap<SocketAddr, Open>,
}

/// An entry's socket and the task that carries its answers.
struct Open {
    /// Of the standard library: a socket of tokio refuses to send until its first event has come.
    socket: std::net::UdpSocket,
    answers: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Relay {
    pub(super) fn new(outside: &Arc<dyn AsyncUdpSocket>) -> io::Result<Arc<Relay>> {
        let outside_address = outside.local_addr()?;
        let relay = Arc::new(Relay {
            outside: Arc::downgrade(outside),
            outside_address,
            state: Mutex::default(),
        });
        tokio::spawn(sweep(Arc::downgrade(&relay)));
        Ok(relay)
    }

    /// Names the listener's port on 127.0.0.1; None: nothing is relayed. Entries to another one go.
    pub(crate) fn set_listener(&self, port: Option<u16>) {
        let mut state = self.state.lock();
        if state.listener != port {
            state.listener = port;
            state.open.clear();
            state.admission.clear();
        }
    }

    /// Whether the socket that peers know is still open.
    pub(crate) fn has_socket(&self) -> bool {
        self.outside.strong_count() > 0
    }

    /// Remote addresses that are relayed now.
    pub(crate) fn entries(&self) -> usize {
        self.state.lock().open.len()
    }

    /// A datagram that does not carry the mark. `to`: the address of this host that it was sent to, if known.
    pub(super) fn inbound(self: &Arc<Self>, from: SocketAddr, to: Option<IpAddr>, datagram: &[u8]) {
        let mut state = self.state.lock();
        let Some(port) = state.listener else { return };
        if self.is_own(from, to, &state) {
            return;
        }
        match state.admission.inbound(from, datagram, Instant::now()) {
            Decision::Drop => return,
            Decision::Forward => {}
            Decision::Open { evicted } => {
                if let Some(evicted) = evicted {
                    state.open.remove(&evicted);
                }
                match self.open(from, to, port) {
                    Ok(open) => drop(state.open.insert(from, open)),
                    Err(error) => {
                        tracing::warn!(%from, %error, "a peer cannot be relayed to the libp2p listener");
                        state.admission.remove(&from);
                        return;
                    }
                }
            }
        }
        if let Some(open) = state.open.get(&from) {
            // A datagram that does not fit the socket is lost, as on any network.
            let _ = open.socket.send(datagram);
        }
    }

    /// Whether the address is this host's end of the relay, which would make a loop.
    fn is_own(&self, from: SocketAddr, to: Option<IpAddr>, state: &State) -> bool {
        let ip = from.ip().to_canonical();
        if from.port() == self.outside_address.port() {
            let bound = self.outside_address.ip().to_canonical();
            return ip == bound || to.is_some_and(|to| to.to_canonical() == ip);
        }
        ip == IpAddr::V4(Ipv4Addr::LOCALHOST) && state.listener == Some(from.port())
    }

    fn open(
        self: &Arc<Self>,
        peer: SocketAddr,
        own_ip: Option<IpAddr>,
        port: u16,
    ) -> io::Result<Open> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nonblocking(true)?;
        let answering = UdpSocket::from_std(socket.try_clone()?)?;
        let answers = tokio::spawn(carry(Arc::downgrade(self), answering, peer, own_ip));
        Ok(Open { socket, answers })
    }

    fn outbound(&self, peer: SocketAddr, own_ip: Option<IpAddr>, datagram: &[u8]) {
        self.state.lock().admission.outbound(peer, Instant::now());
        let transmit = Transmit {
            destination: peer,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: own_ip,
        };
        if let Some(outside) = self.outside.upgrade() {
            // Lost if the socket is full, as on any network.
            let _ = outside.try_send(&transmit);
        }
    }
}

/// The listener's answers to one peer.
async fn carry(relay: Weak<Relay>, socket: UdpSocket, peer: SocketAddr, own_ip: Option<IpAddr>) {
    let mut buffer = vec![0; RELAY_DATAGRAM_BYTES];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(len) => {
                let Some(relay) = relay.upgrade() else { return };
                relay.outbound(peer, own_ip, &buffer[..len]);
            }
            // The listener is away for now (connection refused).
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn sweep(relay: Weak<Relay>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(relay) = relay.upgrade() else { return };
        let mut state = relay.state.lock();
        for address in state.admission.expire(Instant::now()) {
            state.open.remove(&address);
        }
    }
}
