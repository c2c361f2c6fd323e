//! A node's identity: its libp2p Ed25519 key, and the peer id that names it.
//!
//! A peer id is the multihash of the protobuf form of the public key (libp2p specs, peer-ids). For Ed25519 that is the
//! identity hash, so that the key can be read from the id: base58btc(00 24 | 08 01 12 20 | key).

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

/// Multihash code and length, then key type Ed25519 and the field of 32 bytes.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// SubjectPublicKeyInfo of Ed25519 up to the key (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// PKCS #8 v1 of Ed25519 up to the seed (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// A node by its public key; shown as its peer id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) [u8; 32]);

impl NodeId {
    /// Reads a peer id of an Ed25519 key; None for anything else.
    pub fn parse(text: &str) -> Option<NodeId> {
        let bytes = base58_decode(text, PEER_ID_PREFIX.len() + 32)?;
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(NodeId(key.try_into().ok()?))
    }

    pub(crate) fn of_spki(der: &[u8]) -> Option<NodeId> {
        let key = der.strip_prefix(&SPKI_PREFIX)?;
        Some(NodeId(key.try_into().ok()?))
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58_encode(&[&PEER_ID_PREFIX[..], &self.0].concat()))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The private half. Never shown.
pub struct Identity {
    seed: [u8; 32],
    pub node: NodeId,
}

impl Identity {
    /// From the 32-byte seed of an Ed25519 key; None if the library refuses it.
    pub fn from_seed(seed: [u8; 32]) -> Option<Identity> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let node = NodeId(pair.public_key().as_ref().try_into().ok()?);
        Some(Identity { seed, node })
    }

    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        [&PKCS8_PREFIX[..], &self.seed].concat()
    }
}

fn base58_encode(bytes: &[u8]) -> String {
    // Digits of the number, the lowest first.
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = digits.iter().rev().map(|digit| BASE58[usize::from(*digit)]);
    std::iter::repeat_n(b'1', zeros)
        .chain(digits)
        .map(char::from)
        .collect()
}

/// At most `limit` bytes.
fn base58_decode(text: &str, limit: usize) -> Option<Vec<u8>> {
    if text.len() > limit * 2 {
        return None;
    }
    // Bytes of the number, the lowest first.
    let mut bytes: Vec<u8> = Vec::with_capacity(limit);
    for character in text.bytes() {
        let mut carry = BASE58.iter().position(|digit| *digit == character)? as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    let zeros = text.bytes().take_while(|byte| *byte == b'1').count();
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    (bytes.len() <= limit).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_those_of_libp2p() {
        // Seed 00…00 and the peer id that @libp2p/peer-id gives for it.
        let identity = Identity::from_seed([0; 32]).expect("a key");
        let id = identity.node.to_string();
        assert_eq!(id, "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
        assert_eq!(NodeId::parse(&id), Some(identity.node));
    }

    #[test]
    fn what_is_no_ed25519_peer_id_is_refused() {
        let long = "1".repeat(500);
        let others = [
            "",
            "1",
            "0OIl",
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXT",
            &long,
        ];
        for text in others {
            assert_eq!(NodeId::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn base58_reads_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            proptest::prop_assert_eq!(base58_decode(&base58_encode(&bytes), 40), Some(bytes));
        }
    }
}
