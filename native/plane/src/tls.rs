//! TLS 1.3 for the plane: both sides show their identity key as a raw public key (RFC 7250), so there are no certificates to
//! make, to parse or to let expire. What is proven is the key; that it may take part is proven by [`crate::proof`].

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::identity::{Identity, NodeId};

/// Of this protocol; the version that is spoken on it is agreed in the first frame.
const ALPN: &[u8] = b"anvil-shards";

/// Makes the configurations of connections from one identity.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
}

impl Tls {
    pub(crate) fn new(identity: &Identity) -> Result<Tls, Error> {
        let provider = CryptoProvider {
            cipher_suites: vec![
                // A tenth less CPU than AES-256, and QUIC needs it for its first packets anyway.
                aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
                aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            // One key share that fits the first datagram.
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let pkcs8 = PrivatePkcs8KeyDer::from(identity.pkcs8());
        let signer = aws_lc_rs::sign::any_eddsa_type(&pkcs8)?;
        let shown = CertificateDer::from(identity.node.spki());
        Ok(Tls {
            provider: Arc::new(provider),
            key: Arc::new(CertifiedKey::new(vec![shown], signer)),
        })
    }

    fn verifier(&self, expected: Option<NodeId>) -> Arc<RawKey> {
        Arc::new(RawKey {
            expected,
            algorithms: self.provider.signature_verification_algorithms,
        })
    }

    /// For a connection to `peer` and nobody else.
    pub(crate) fn client(&self, peer: NodeId) -> Result<Arc<QuicClientConfig>, Error> {
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(Some(peer)))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.key.clone(),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        let config = QuicClientConfig::try_from(config)
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Arc::new(config))
    }

    pub(crate) fn server(&self) -> Result<Arc<QuicServerConfig>, Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(self.verifier(None))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                self.key.clone(),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Each connection proves its keys anew.
        config.send_tls13_tickets = 0;
        let config = QuicServerConfig::try_from(config)
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Arc::new(config))
    }
}

/// The key that the other side of a connection has proven in its handshake.
pub(crate) fn proven_node(connection: &quinn::Connection) -> Option<NodeId> {
    let shown = connection.peer_identity()?;
    let shown = shown.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match shown.as_slice() {
        [key] => NodeId::of_spki(key),
        _ => None,
    }
}

/// Accepts one raw Ed25519 key: the expected one, or any (who it is is asked afterwards).
#[derive(Debug)]
struct RawKey {
    expected: Option<NodeId>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl RawKey {
    fn check(&self, shown: &[u8], more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let bad = |kind| Err(Error::InvalidCertificate(kind));
        match NodeId::of_spki(shown) {
            Some(node) if more.is_empty() => match self.expected {
                Some(expected) if expected != node => {
                    bad(CertificateError::ApplicationVerificationFailure)
                }
                _ => Ok(()),
            },
            _ => bad(CertificateError::BadEncoding),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(shown.as_ref()),
            signed,
            &self.algorithms,
        )
    }
}

/// Never asked for: only TLS 1.3 is spoken.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(
        rustls::PeerIncompatible::Tls12NotOffered,
    ))
}

impl ServerCertVerifier for RawKey {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown, more)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown, more)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
