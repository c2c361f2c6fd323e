//! The mark by which the plane knows its datagrams: the first four bytes of the destination connection id.

use aws_lc_rs::rand;
use quinn::{ConnectionId, ConnectionIdGenerator};

const MARK: [u8; 4] = *b"\xa7nvL";
const ID_BYTES: usize = 12;

/// A connection id with the mark; the rest is random.
pub(crate) fn marked_id() -> ConnectionId {
    let mut id = [0; ID_BYTES];
    id[..MARK.len()].copy_from_slice(&MARK);
    // The generator of the library does not fail once it has started; an id twice would only be a connection that fails.
    let _ = rand::fill(&mut id[MARK.len()..]);
    ConnectionId::new(&id)
}

/// Whether a datagram is the plane's. A long header has the id's length at byte 5 and the id behind it, a short one has
/// the id at byte 1 (RFC 8999 §5).
pub(crate) fn is_marked(datagram: &[u8]) -> bool {
    match datagram {
        [first, ..] if first & 0x80 == 0 => datagram.get(1..5) == Some(&MARK),
        [_, _, _, _, _, len, ..] => {
            usize::from(*len) >= MARK.len() && datagram.get(6..10) == Some(&MARK)
        }
        _ => false,
    }
}

/// Gives marked ids to quinn.
pub(crate) struct MarkedIds;

impl ConnectionIdGenerator for MarkedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        marked_id()
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mark_at_its_place_counts() {
        let mut long = vec![0xc3, 0, 0, 0, 1, 12];
        long.extend_from_slice(&marked_id());
        assert!(is_marked(&long));
        let mut short = vec![0x43];
        short.extend_from_slice(&marked_id());
        assert!(is_marked(&short));
        long[5] = 3;
        assert!(!is_marked(&long), "the id ends before the mark does");
        short[0] |= 0x80;
        assert!(!is_marked(&short));
        for len in 0..10 {
            assert!(!is_marked(&vec![0xff; len]) && !is_marked(&vec![0; len]));
        }
        assert!(!is_marked(b"\xc3\x00\x00\x00\x01\x0c\xa7nv"));
    }
}
