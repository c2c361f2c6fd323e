//! The one UDP socket of a node: datagrams with the plane's mark go to quinn, all others to the relay.

mod admission;
mod mark;
mod relay;

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use mark::{MarkedIds, marked_id};
pub(crate) use relay::Relay;

use crate::limits::{MTU_UPPER_BOUND, SEGMENTED_SEND_BYTES, SOCKET_BUFFER_BYTES};

/// Quinn's socket, without what is not quinn's.
pub(crate) struct PlaneSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    relay: Arc<Relay>,
}

impl PlaneSocket {
    /// Binds the address. Must run on the runtime.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<PlaneSocket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            // `::` takes IPv4 peers as well, whatever net.ipv6.bindv6only says.
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        // Linux reports twice what it gives.
        let given = socket.recv_buffer_size()? / 2;
        if given < SOCKET_BUFFER_BYTES {
            tracing::debug!(
                given,
                asked = SOCKET_BUFFER_BYTES,
                "the receive buffer of the peers' socket is smaller; net.core.rmem_max bounds it"
            );
        }
        let inner = TokioRuntime.wrap_udp_socket(socket.into())?;
        let relay = Relay::new(&inner)?;
        Ok(PlaneSocket { inner, relay })
    }

    pub(crate) fn relay(&self) -> Arc<Relay> {
        self.relay.clone()
    }

    /// Keeps the plane's datagrams of a received buffer, in front, and hands the others on. Returns the bytes kept.
    fn sort(&self, buffer: &mut [u8], meta: &RecvMeta) -> usize {
        let stride = meta.stride.max(1);
        let mut kept = 0;
        for start in (0..meta.len).step_by(stride) {
            let end = (start + stride).min(meta.len);
            if mark::is_marked(&buffer[start..end]) {
                if kept != start {
                    buffer.copy_within(start..end, kept);
                }
                kept += end - start;
            } else {
                self.relay
                    .inbound(meta.addr, meta.dst_ip, &buffer[start..end]);
            }
        }
        kept
    }
}

impl fmt::Debug for PlaneSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaneSocket").finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for PlaneSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let received = match self.inner.poll_recv(cx, buffers, metas) {
                Poll::Ready(Ok(received)) => received,
                other => return other,
            };
            let mut kept = 0;
            for at in 0..received {
                let meta = metas[at];
                let len = self.sort(&mut buffers[at], &meta);
                if len > 0 {
                    buffers.swap(kept, at);
                    metas[kept] = RecvMeta { len, ..meta };
                    kept += 1;
                }
            }
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        let fitting = SEGMENTED_SEND_BYTES / usize::from(MTU_UPPER_BOUND);
        self.inner.max_transmit_segments().min(fitting)
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }
}
