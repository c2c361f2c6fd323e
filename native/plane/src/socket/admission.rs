//! Who may be relayed to the libp2p listener: to it every peer comes from one loopback address, so its own limits per
//! address cannot work, and these stand in their place. Pure: addresses, datagrams and time in, decisions out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::limits::{
    RELAY_ENTRIES, RELAY_IDLE, RELAY_INITIAL_BYTES, RELAY_PREFIX_BURST, RELAY_PREFIX_PER_SECOND,
    RELAY_PREFIXES, RELAY_UNANSWERED_IDLE,
};

/// What to do with a datagram from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Its address has an entry.
    Forward,
    /// Make an entry; that of this address goes for it, if any.
    Open {
        evicted: Option<SocketAddr>,
    },
    Drop,
}

struct Entry {
    last: Instant,
    /// The listener has answered.
    answered: bool,
    /// The address has spoken after that, so it is not a made-up one.
    confirmed: bool,
}

/// The addresses that have an entry.
#[derive(Default)]
pub(super) struct Admission {
    entries: HashMap<SocketAddr, Entry>,
    rates: HashMap<IpAddr, Bucket>,
}

/// How many entries a prefix may still open, and since when that counts.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Admission {
    pub(super) fn inbound(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Decision {
        if let Some(entry) = self.entries.get_mut(&from) {
            entry.last = now;
            entry.confirmed |= entry.answered;
            return Decision::Forward;
        }
        if datagram.len() < RELAY_INITIAL_BYTES || !is_initial(datagram) {
            return Decision::Drop;
        }
        if !self.within_rate(prefix(from.ip()), now) {
            return Decision::Drop;
        }
        let evicted = if self.entries.len() < RELAY_ENTRIES {
            None
        } else {
            let unconfirmed = self.entries.iter().filter(|(_, entry)| !entry.confirmed);
            let Some((oldest, _)) = unconfirmed.min_by_key(|(_, entry)| entry.last) else {
                return Decision::Drop;
            };
            Some(*oldest)
        };
        if let Some(evicted) = evicted {
            self.entries.remove(&evicted);
        }
        let entry = Entry {
            last: now,
            answered: false,
            confirmed: false,
        };
        self.entries.insert(from, entry);
        Decision::Open { evicted }
    }

    /// The listener has sent something to the address.
    pub(super) fn outbound(&mut self, to: SocketAddr, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&to) {
            entry.answered = true;
            if entry.confirmed {
                entry.last = now;
            }
        }
    }

    /// Takes out what is over, and names it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<SocketAddr> {
        let over = |entry: &Entry| {
            let limit = if entry.confirmed {
                RELAY_IDLE
            } else {
                RELAY_UNANSWERED_IDLE
            };
            now.saturating_duration_since(entry.last) >= limit
        };
        let gone: Vec<SocketAddr> = self
            .entries
            .iter()
            .filter(|(_, entry)| over(entry))
            .map(|(address, _)| *address)
            .collect();
        for address in &gone {
            self.entries.remove(address);
        }
        self.rates.retain(|_, bucket| !bucket.is_full(now));
        gone
    }

    pub(super) fn remove(&mut self, address: &SocketAddr) {
        self.entries.remove(address);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    fn within_rate(&mut self, prefix: IpAddr, now: Instant) -> bool {
        if !self.rates.contains_key(&prefix) && self.rates.len() >= RELAY_PREFIXES {
            return false;
        }
        let bucket = self.rates.entry(prefix).or_insert(Bucket {
            tokens: f64::from(RELAY_PREFIX_BURST),
            at: now,
        });
        bucket.take(now)
    }
}

impl Bucket {
    fn filled(&self, now: Instant) -> f64 {
        let since: Duration = now.saturating_duration_since(self.at);
        let tokens = self.tokens + since.as_secs_f64() * f64::from(RELAY_PREFIX_PER_SECOND);
        tokens.min(f64::from(RELAY_PREFIX_BURST))
    }

    fn is_full(&self, now: Instant) -> bool {
        self.filled(now) >= f64::from(RELAY_PREFIX_BURST)
    }

    fn take(&mut self, now: Instant) -> bool {
        let tokens = self.filled(now);
        (self.tokens, self.at) = (tokens, now);
        if tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// A first packet of QUIC version 1 or 2 (RFC 9000 §17.2.2, RFC 9369 §3.2).
fn is_initial(datagram: &[u8]) -> bool {
    let Some((first, version)) = datagram.split_first().and_then(|(first, rest)| {
        let version = rest.first_chunk::<4>()?;
        Some((*first, u32::from_be_bytes(*version)))
    }) else {
        return false;
    };
    let kind = first >> 4 & 0b11;
    let long_and_fixed = first & 0xc0 == 0xc0;
    long_and_fixed && matches!((version, kind), (1, 0b00) | (0x6b33_43cf, 0b01))
}

/// What one host or network is likely to hold: /24, /56.
fn prefix(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & 0xffff_ff00).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 72 << 72).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> SocketAddr {
        // Each in a prefix of its own.
        SocketAddr::new(IpAddr::V4((0x0a00_0001 + (number << 8)).into()), 4001)
    }

    fn initial() -> Vec<u8> {
        let mut datagram = vec![0; RELAY_INITIAL_BYTES];
        datagram[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        datagram
    }

    const OPEN: Decision = Decision::Open { evicted: None };

    #[test]
    fn only_padded_initials_open_an_entry() {
        let now = Instant::now();
        let mut admission = Admission::default();
        let short = &initial()[..RELAY_INITIAL_BYTES - 1];
        let mut handshake = initial();
        handshake[0] = 0xe0;
        let mut other_version = initial();
        other_version[4] = 9;
        for bad in [&[][..], &[0x40; 1400], short, &handshake, &other_version] {
            assert_eq!(admission.inbound(address(1), bad, now), Decision::Drop);
        }
        assert_eq!(admission.inbound(address(1), &initial(), now), OPEN);
        assert_eq!(
            admission.inbound(address(1), &[0x40; 50], now),
            Decision::Forward
        );
    }

    #[test]
    fn the_oldest_that_never_spoke_again_makes_room_and_the_others_stay() {
        let start = Instant::now();
        let mut admission = Admission::default();
        for number in 0..RELAY_ENTRIES as u32 {
            let now = start + Duration::from_micros(number.into());
            assert_eq!(admission.inbound(address(number), &initial(), now), OPEN);
        }
        // Answered is not enough: a made-up address is answered as well.
        admission.outbound(address(0), start);
        let evicted = Some(address(0));
        let next = admission.inbound(address(9000), &initial(), start);
        assert_eq!(next, Decision::Open { evicted });
        for number in 1..RELAY_ENTRIES as u32 {
            admission.outbound(address(number), start);
            admission.inbound(address(number), &[0x40; 50], start);
        }
        let evicted = Some(address(9000));
        let next = admission.inbound(address(9001), &initial(), start);
        assert_eq!(next, Decision::Open { evicted });
        admission.outbound(address(9001), start);
        admission.inbound(address(9001), &[0x40; 50], start);
        assert_eq!(
            admission.inbound(address(9002), &initial(), start),
            Decision::Drop
        );
    }

    #[test]
    fn a_prefix_has_its_rate() {
        let now = Instant::now();
        let mut admission = Admission::default();
        let at = |port| SocketAddr::new([10, 0, 0, (port % 200) as u8].into(), port);
        let opened = |admission: &mut Admission, now, ports: std::ops::Range<u16>| {
            ports
                .filter(|port| admission.inbound(at(*port), &initial(), now) == OPEN)
                .count() as u32
        };
        assert_eq!(opened(&mut admission, now, 1000..1500), RELAY_PREFIX_BURST);
        let later = now + Duration::from_secs(2);
        assert_eq!(
            opened(&mut admission, later, 2000..2500),
            2 * RELAY_PREFIX_PER_SECOND
        );
        assert_eq!(
            admission.inbound(address(7), &initial(), later),
            OPEN,
            "others have theirs"
        );
        admission.expire(later + Duration::from_secs(60));
        assert!(admission.rates.is_empty() && admission.entries.is_empty());
    }

    #[test]
    fn entries_end_with_silence_sooner_where_nobody_answered() {
        let now = Instant::now();
        let mut admission = Admission::default();
        for number in [1, 2] {
            admission.inbound(address(number), &initial(), now);
        }
        admission.outbound(address(2), now);
        admission.inbound(address(2), &[0x40; 50], now);
        assert_eq!(admission.expire(now + RELAY_UNANSWERED_IDLE), [address(1)]);
        assert_eq!(admission.expire(now + RELAY_IDLE), [address(2)]);
    }
}
