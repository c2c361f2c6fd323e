//! Proof of the cluster secret: an HMAC over what only these two ends of this one connection share.

use aws_lc_rs::hmac;
use quinn::Connection;

use crate::identity::NodeId;

const LABEL: &[u8] = b"EXPORTER-anvil-shard-plane";
const PURPOSE: &[u8] = b"anvil shard plane proof 1";

/// HMAC-SHA256.
pub(crate) type Proof = [u8; 32];

/// Who makes the proof. The dialler proves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Dialler = 0,
    Listener = 1,
}

/// The secrets of the cluster: the first is proven, any is accepted.
pub(crate) struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// None if there is no secret, or an empty one.
    pub(crate) fn new<S: AsRef<[u8]>>(secrets: &[S]) -> Option<Secrets> {
        let good = !secrets.is_empty() && secrets.iter().all(|secret| !secret.as_ref().is_empty());
        good.then(|| {
            let key = |secret: &S| hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref());
            Secrets(secrets.iter().map(key).collect())
        })
    }

    pub(crate) fn prove(&self, role: Role, shared: &Shared<'_>) -> Proof {
        let mut proof = Proof::default();
        // The constructor made sure of the first.
        if let Some(key) = self.0.first() {
            proof.copy_from_slice(hmac::sign(key, &shared.message(role)).as_ref());
        }
        proof
    }

    pub(crate) fn accept(&self, role: Role, shared: &Shared<'_>, proof: &Proof) -> bool {
        let message = shared.message(role);
        // All are tried, so that the time does not tell which one it was.
        let good = self
            .0
            .iter()
            .filter(|key| hmac::verify(key, &message, proof).is_ok());
        good.count() > 0
    }
}

/// What a proof is bound to.
pub(crate) struct Shared<'a> {
    /// The TLS exporter's output: of this connection and no other.
    pub(crate) exported: [u8; 32],
    pub(crate) dialler: NodeId,
    pub(crate) listener: NodeId,
    pub(crate) deployment: &'a str,
    pub(crate) region: &'a str,
    /// Of the process that makes the proof.
    pub(crate) process: &'a str,
}

impl Shared<'_> {
    fn message(&self, role: Role) -> Vec<u8> {
        let mut message = Vec::with_capacity(256);
        message.extend_from_slice(PURPOSE);
        message.push(role as u8);
        message.extend_from_slice(&self.exported);
        message.extend_from_slice(&self.dialler.0);
        message.extend_from_slice(&self.listener.0);
        for text in [self.deployment, self.region, self.process] {
            message.extend_from_slice(&(text.len() as u32).to_le_bytes());
            message.extend_from_slice(text.as_bytes());
        }
        message
    }
}

/// 32 bytes that both ends of the connection can compute and nobody between them; None before the handshake's end.
pub(crate) fn exported(connection: &Connection) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    connection
        .export_keying_material(&mut bytes, LABEL, b"")
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(exported: u8) -> Shared<'static> {
        Shared {
            exported: [exported; 32],
            dialler: NodeId([1; 32]),
            listener: NodeId([2; 32]),
            deployment: "d",
            region: "r",
            process: "p",
        }
    }

    #[test]
    fn a_proof_holds_for_its_secret_role_and_connection_only() {
        let old = Secrets::new(&["old"]).unwrap();
        let rotating = Secrets::new(&["new", "old"]).unwrap();
        let proof = old.prove(Role::Dialler, &shared(9));
        assert!(old.accept(Role::Dialler, &shared(9), &proof));
        assert!(rotating.accept(Role::Dialler, &shared(9), &proof));
        assert!(!old.accept(Role::Listener, &shared(9), &proof));
        assert!(!old.accept(Role::Dialler, &shared(8), &proof));
        let moved = Shared {
            deployment: "dr",
            region: "",
            ..shared(9)
        };
        assert!(!old.accept(Role::Dialler, &moved, &proof));
        let new = rotating.prove(Role::Dialler, &shared(9));
        assert!(!old.accept(Role::Dialler, &shared(9), &new));
    }

    #[test]
    fn no_secret_is_no_cluster() {
        assert!(Secrets::new::<&str>(&[]).is_none());
        assert!(Secrets::new(&["good", ""]).is_none());
    }
}
