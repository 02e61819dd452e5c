//! TLS for a listener: 1.2 and 1.3, by rustls and ring. With a client CA a peer without a
//! certificate of it does not come through the handshake.

use std::fmt;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use async_io::{Async, Timer};
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use smol::future;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::limits::{LAN_LINGER, LAN_LINGER_TIME};

/// What a listener shows of itself, and whom it lets in.
///
/// Copies show the same: [`renew`](Self::renew) counts for all of them.
#[derive(Clone)]
pub struct TlsServer(Arc<RwLock<Arc<ServerConfig>>>);

/// Which of the parts of a [`TlsServer`] is unusable, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The chain of certificates.
    Certificate(String),
    /// The private key, or that it is not the certificate's.
    Key(String),
    /// The certificates that vouch for clients.
    ClientCa(String),
}

impl TlsServer {
    /// Reads PEM: a chain of certificates, our own first; its private key (PKCS #8, PKCS #1 or
    /// SEC 1); where clients have to show a certificate, those that vouch for them.
    ///
    /// # Errors
    /// If one of them is not what it should be.
    pub fn new(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, TlsFault> {
        Self::read(certificate, Some(key), client_ca)
    }

    /// The same; without a key, which only the service itself is handed, nobody comes through the
    /// handshake.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn read(
        certificate: &[u8],
        key: Option<&[u8]>,
        client_ca: Option<&[u8]>,
    ) -> Result<Self, TlsFault> {
        let chain = certificates(certificate).map_err(TlsFault::Certificate)?;
        let key = key.map(PrivateKeyDer::from_pem_slice).transpose().map_err(|error| {
            TlsFault::Key(match error {
                pem::Error::NoItemsFound => "holds no private key in PEM".to_owned(),
                error => format!("is not PEM: {error}"),
            })
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFault::Key(format!("cannot be used: {error}")))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let fault = |what: &dyn fmt::Display| TlsFault::ClientCa(format!("{what}"));
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities).map_err(TlsFault::ClientCa)? {
                    let added = roots.add(authority);
                    added.map_err(|error| fault(&format_args!("holds a bad one: {error}")))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| fault(&format_args!("cannot be used: {error}")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = match key {
            None => builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new())),
            Some(key) => builder.with_single_cert(chain, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    TlsFault::Key("is not the key of the certificate".to_owned())
                }
                rustls::Error::InvalidCertificate(error) => {
                    TlsFault::Certificate(format!("holds a bad one: {error:?}"))
                }
                error => TlsFault::Key(format!("cannot be used: {error}")),
            })?,
        };
        // Servers push now and then: sessions kept for them would only take memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(RwLock::new(Arc::new(config)))))
    }

    /// Connections from now on are shown what `other` shows; those that are open stay.
    pub fn renew(&self, other: &Self) {
        let config = other.config();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config())
    }

    /// Makes a connection a TLS one. `None` if the peer cannot or may not.
    #[cfg(feature = "simulate")]
    pub(crate) async fn accept(&self, tcp: Async<TcpStream>) -> Option<Stream> {
        handshake(&self.acceptor(), tcp).await
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer(…)")
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Err(error) => Err(format!("is not PEM: {error}")),
        Ok(none) if none.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(certificates) => Ok(certificates),
    }
}

/// The octets of a connection, ciphered or not.
pub(crate) enum Stream {
    Plain(Async<TcpStream>),
    Tls(Box<TlsStream<Async<TcpStream>>>),
}

impl Stream {
    /// Tells the peer that nothing more comes, as far as there is room to say so.
    pub(super) fn end_writing(&mut self, context: &mut Context<'_>) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => {
                let _ = Pin::new(&mut **tls).poll_close(context);
                tls.get_ref().0
            }
        };
        let _ = tcp.get_ref().shutdown(Shutdown::Write);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, octets),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().end_writing(context);
        Poll::Ready(Ok(()))
    }
}

/// Makes a connection a TLS one. `None` if the peer cannot or may not.
pub(super) async fn handshake(tls: &TlsAcceptor, tcp: Async<TcpStream>) -> Option<Stream> {
    match tls.accept(tcp).into_fallible().await {
        Ok(tls) => Some(Stream::Tls(Box::new(tls))),
        Err((error, tcp)) => {
            log::debug!("TLS: {error}");
            part(tcp).await;
            None
        }
    }
}

/// Closes a connection so that the alert just sent arrives: a reset, which octets left unread
/// provoke, would overtake it.
async fn part(mut tcp: Async<TcpStream>) {
    let _ = tcp.get_ref().shutdown(Shutdown::Write);
    let rest = async {
        let mut scratch = [0; 1024];
        let mut octets = 0;
        while let Ok(count @ 1..) = tcp.read(&mut scratch).await {
            octets += count;
            if octets >= LAN_LINGER {
                return;
            }
        }
    };
    let late = async {
        Timer::after(LAN_LINGER_TIME).await;
    };
    future::or(rest, late).await;
}
