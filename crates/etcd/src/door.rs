//! How a connection comes in: in the clear or through TLS, HTTP/2 or HTTP/1, and who its client is.

use std::{io, sync::Arc, time::Duration};

use quorate_tls::{Tls, TlsStream, common_name, hosts, rustls::pki_types::CertificateDer};
use tokio::{net::TcpStream, time::sleep};

/// What is spoken inside TLS: gRPC, and what is for people and probes.
pub const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// Whom the client's certificate names. An extension of each of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommonName(pub(crate) Arc<str>);

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A connection that has come in.
pub(crate) enum Stream {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is asked of whoever comes in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    tls: Option<Tls>,
    names: Arc<[String]>,
}

impl Door {
    pub(crate) fn new(tls: Option<Tls>, names: Vec<String>) -> Door {
        Door { tls, names: names.into() }
    }

    /// Until it is known what the connection speaks. None: it has ended before.
    pub(crate) async fn open(
        &self,
        stream: TcpStream,
    ) -> io::Result<Option<(Stream, Speaks, Option<CommonName>)>> {
        let Some(tls) = &self.tls else {
            return Ok(sniff(&stream).await?.map(|speaks| (Stream::Clear(stream), speaks, None)));
        };
        let stream = tls.acceptor().accept(stream).await?;
        let session = stream.get_ref().1;
        // gRPC's clients say so; whoever says nothing is taken for a person's tool.
        let speaks = if session.alpn_protocol() == Some(b"h2") { Speaks::Http2 } else { Speaks::Http1 };
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        if !self.admits(certificate) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the client's certificate has none of the names that are let in",
            ));
        }
        let name = certificate.and_then(common_name).map(|name| CommonName(name.into()));
        Ok(Some((Stream::Tls(Box::new(stream)), speaks, name)))
    }

    fn admits(&self, certificate: Option<&CertificateDer<'_>>) -> bool {
        if self.names.is_empty() {
            return true;
        }
        let Some(certificate) = certificate else { return false };
        let named = |name: &String| self.names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        common_name(certificate).iter().any(named) || hosts(certificate).iter().any(named)
    }
}

/// The first bytes tell: HTTP/2 with prior knowledge begins with `PRI `, which no HTTP/1 request does.
async fn sniff(stream: &TcpStream) -> io::Result<Option<Speaks>> {
    const PREFACE: &[u8] = b"PRI ";
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        let bytes = &first[..count];
        if bytes.is_empty() {
            return Ok(None);
        }
        if !PREFACE.starts_with(bytes) {
            return Ok(Some(Speaks::Http1));
        }
        if bytes.len() == PREFACE.len() {
            return Ok(Some(Speaks::Http2));
        }
        // A peek returns at once while there is anything; the rest of four bytes is waited for by looking again.
        sleep(Duration::from_millis(10)).await;
    }
}
