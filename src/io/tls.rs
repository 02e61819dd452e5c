//! TLS as a client: whom to believe, and why somebody was not believed.
//!
//! ```text
//!  Trust ──files──► Configuration ──► one handshake ──► stream, or one sentence
//!                        │
//!                    Verifier: the host name and the validity always; the issuer
//!                    by a chain to a CA, or by the pin of the server's own key
//! ```
//!
//! TLS 1.2 and 1.3, the ciphers and signatures of rustls: no SHA-1, no RSA below 2048 bits, no
//! RSA key exchange. Nothing here switches a check off. Revocation is *not* checked: a router
//! often has neither lists nor a way to a responder when it starts a session, and short-lived
//! certificates serve better. Every connection is a full handshake, so that a certificate which
//! has run out is noticed at the next one.

use std::fmt::{self, Display, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientConfig, Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor,
    verify_server_name,
};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible,
    RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use smol::io::{AsyncRead, AsyncWrite};

use crate::codes::{self, Code};
use crate::limits::TRUST_FILE;

/// Where distributions keep the CAs that everybody trusts: Debian, Yocto and OpenWrt; Fedora;
/// Alpine and the BSDs. The first that is there counts.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whom to believe, and as whom to come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Who vouches for the server.
    pub roots: Roots,
    /// PEM files of our certificate (with its intermediates) and its private key, for servers
    /// that demand one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Who vouches for a server. Its host name and validity are checked in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The CAs of the system.
    #[default]
    SystemBundle,
    /// The CAs in this PEM file, and no others.
    File(PathBuf),
    /// Nobody but the server itself: the SHA-256 of its SubjectPublicKeyInfo (DER), as in RFC
    /// 7469 2.4. Replaces the chain, nothing else.
    Pin([u8; 32]),
}

impl Trust {
    /// Reads what this names, as a call will. Blocks on files.
    ///
    /// # Errors
    ///
    /// One sentence: a file is not there, holds no certificate, or a key does not fit.
    pub fn check(&self) -> Result<(), String> {
        Configuration::read(self).map(drop)
    }
}

/// A [`Trust`] with its files read.
#[derive(Clone)]
pub(super) struct Configuration {
    config: Arc<ClientConfig>,
    stamps: Vec<Stamp>,
}

/// What tells that a file has changed.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

impl Configuration {
    /// Blocks on files. Errors: as [`Trust::check`].
    pub(super) fn read(trust: &Trust) -> Result<Self, String> {
        let mut stamps = Vec::new();
        let mut open = |path: &Path| {
            stamps.push(stamp(path));
            super::read_bounded(path, TRUST_FILE as usize).map_err(|error| {
                format!("cannot read {}: {}", path.display(), super::plain(&error))
            })
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let issuer = match &trust.roots {
            Roots::SystemBundle => {
                let path = BUNDLES.map(Path::new).into_iter().find(|path| path.exists());
                let path = path.ok_or("the system has no bundle of CA certificates")?;
                Issuer::chain(path, &open(path)?, &provider)?
            }
            Roots::File(path) => Issuer::chain(path, &open(path)?, &provider)?,
            Roots::Pin(pin) => Issuer::Pin(*pin),
        };
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { issuer, algorithms }));
        let mut config = match &trust.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate, &open(certificate)?)?;
                let octets = open(key)?;
                let secret = PrivateKeyDer::from_pem_slice(&octets)
                    .map_err(|error| format!("no private key in {}: {error}", key.display()))?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| {
                    format!("the key in {} is of no use: {error}", key.display())
                })?
            }
        };
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), stamps })
    }

    /// Whether the files are as they were when read. Asks the file system.
    pub(super) fn is_current(&self) -> bool {
        self.stamps.iter().all(|old| stamp(&old.0) == *old)
    }

    /// Makes a secure connection out of a plain one.
    ///
    /// Errors: why not, in one sentence, and its code.
    pub(super) async fn connect<S>(
        &self,
        name: ServerName<'static>,
        stream: S,
    ) -> Result<TlsStream<S>, (String, Code)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| match fault(&error) {
            Some(fault) => (sentence(fault), code(fault)),
            None => {
                let error = super::plain(&error);
                let what = "the server ended the connection during the handshake";
                (format!("{what}: {error}"), codes::TLS)
            }
        })
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok();
    let stamp = metadata.and_then(|data| Some((data.modified().ok()?, data.len())));
    (path.to_owned(), stamp)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("no certificate in {}", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{} is not PEM: {error}", path.display())),
    }
}

/// What stands for the server's key.
#[derive(Debug)]
enum Issuer {
    Chain(Arc<WebPkiServerVerifier>),
    Pin([u8; 32]),
}

impl Issuer {
    fn chain(path: &Path, pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // Bundles hold old certificates that cannot be parsed; the others still count.
        let (good, _) = roots.add_parsable_certificates(certificates(path, pem)?);
        if good == 0 {
            return Err(format!("no usable CA certificate in {}", path.display()));
        }
        let roots = Arc::new(roots);
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map(Self::Chain)
            .map_err(|error| error.to_string())
    }
}

/// Judges a server's certificate.
#[derive(Debug)]
struct Verifier {
    issuer: Issuer,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.issuer {
            Issuer::Chain(verifier) => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| match error {
                    Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                        own(Fault::Issuer {
                            self_signed: is_self_signed(end_entity),
                            alone: intermediates.is_empty(),
                        })
                    }
                    error => error,
                }),
            Issuer::Pin(pin) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                let found = Sha256::digest(certificate.subject_public_key_info().as_ref());
                if found.as_slice() != pin {
                    return Err(own(Fault::Pin(found.into())));
                }
                self.verify_by_itself(&certificate, now)?;
                verify_server_name(&certificate, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    /// Whether a certificate is valid now and meant for a server, whoever issued it.
    ///
    /// A search for a chain to nobody checks what concerns the certificate alone, its validity
    /// first, before it misses an issuer. Self-made certificates often call themselves a CA,
    /// which only matters where a chain counts.
    fn verify_by_itself(
        &self,
        certificate: &ParsedCertificate<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let nobody = RootCertStore::empty();
        let algorithms = self.algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(certificate, &nobody, &[], now, algorithms)
        {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) | Ok(()) => Ok(()),
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(error))))
                if error.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}

/// What rustls has no words for.
#[derive(Debug)]
enum Fault {
    Issuer { self_signed: bool, alone: bool },
    Pin([u8; 32]),
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuer { self_signed: true, .. } => f.write_str(
                "the server's certificate is self-signed and not among the trusted ones",
            ),
            Self::Issuer { alone: true, .. } => f.write_str(
                "the server's certificate is from an unknown CA, or the server does not send \
                 the intermediate certificate",
            ),
            Self::Issuer { .. } => {
                f.write_str("the chain of the server's certificate ends at an unknown CA")
            }
            Self::Pin(found) => {
                let mut hex = String::new();
                found.iter().try_for_each(|octet| write!(hex, "{octet:02x}"))?;
                write!(f, "the server's key is not the pinned one, its pin is {hex}")
            }
        }
    }
}

fn own(fault: Fault) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
}

/// The TLS error inside of an error of a stream, if it is one.
pub(super) fn fault(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The code of a TLS error.
pub(super) fn code(error: &Error) -> Code {
    use CertificateError as Bad;
    match error {
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => codes::EXPIRED,
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            codes::NOT_YET_VALID
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            codes::WRONG_NAME
        }
        Error::InvalidCertificate(_) => codes::UNTRUSTED,
        _ => codes::TLS,
    }
}

/// A TLS error for people.
pub(super) fn sentence(error: &Error) -> String {
    use AlertDescription as Alert;
    match error {
        Error::InvalidCertificate(error) => certificate_sentence(error),
        Error::AlertReceived(Alert::ProtocolVersion)
        | Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "the server does not speak TLS 1.2 or newer".to_owned()
        }
        Error::AlertReceived(Alert::CertificateRequired) => {
            "the server demands a client certificate".to_owned()
        }
        Error::AlertReceived(Alert::HandshakeFailure) => {
            "the server refuses the handshake: no common cipher, or it demands a client \
             certificate"
                .to_owned()
        }
        Error::AlertReceived(Alert::UnrecognisedName) => {
            "the server does not know this host name".to_owned()
        }
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => format!("the server refuses our client certificate: {error}"),
        Error::InvalidMessage(_) => "what the server speaks is not TLS".to_owned(),
        _ => error.to_string(),
    }
}

fn certificate_sentence(error: &CertificateError) -> String {
    let date = |time: &UnixTime| {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
        time.map_or_else(|| "a far day".to_owned(), httpdate::fmt_http_date)
    };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate, or one above it, expired on {}", date(not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the server's certificate, or one above it, is not valid before {}; here it is {}",
            date(not_before),
            date(time)
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = match presented.as_slice() {
                [] => "no name at all (its subjectAltName counts, its common name does not)".into(),
                names => names.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            };
            let expected = expected.to_str();
            format!("the server's certificate is not for {expected} but for {names}")
        }
        CertificateError::BadSignature => {
            "a signature is broken, or made by a key that is too weak (RSA below 2048 bits)".into()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a certificate is signed by an algorithm that is not accepted (SHA-1, MD5 …)".into()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not meant for servers (extended key usage)".into()
        }
        CertificateError::BadEncoding => "a certificate is not encoded as it should be".into(),
        CertificateError::Other(OtherError(error)) => {
            use webpki::Error as Why;
            match error.downcast_ref() {
                Some(Why::NameConstraintViolation) => {
                    "the CA of the server's certificate may not issue for this name (name \
                     constraints)"
                        .into()
                }
                Some(Why::EndEntityUsedAsCa) => {
                    "a certificate in the chain is no CA and signed another one".into()
                }
                Some(Why::PathLenConstraintViolated) => {
                    "the chain is longer than one of its CAs allows".into()
                }
                Some(Why::CaUsedAsEndEntity) => {
                    "the server's certificate is that of a CA: such a one is taken by its pin only"
                        .into()
                }
                Some(Why::UnsupportedCriticalExtension) => {
                    "a certificate has a critical extension that is not understood".into()
                }
                _ => match error.downcast_ref::<Fault>() {
                    Some(fault) => fault.to_string(),
                    None => format!("the server's certificate is refused: {error}"),
                },
            }
        }
        error => format!("the server's certificate is refused: {error}"),
    }
}

/// `DnsName("a.example")` without its wrapping.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_that_names_missing_or_empty_files_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let trust = Trust { roots: Roots::File(path.clone()), identity: None };
        assert!(trust.check().unwrap_err().starts_with("cannot read "));
        fs::write(&path, "nothing\n").unwrap();
        assert!(trust.check().unwrap_err().starts_with("no certificate in "));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(trust.check().unwrap_err().starts_with("no usable CA certificate in "));
        let pin = Trust { roots: Roots::Pin([0; 32]), identity: None };
        assert_eq!(pin.check(), Ok(()));
        let pin = Trust { identity: Some((path.clone(), path)), ..pin };
        assert!(pin.check().unwrap_err().starts_with("no private key in "));
    }
}
