//! TLS: on the port of the others, on one of its own, and who its client is.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_tls::{
    Authorities, ClientAuth, Files, Tls,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{PrivateKeyDer, ServerName},
    },
};
use quorate_wire::zookeeper::*;
use quorate_zookeeper::{Options, Tuning};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};
use tokio_rustls::TlsConnector;

use crate::common::*;

/// An authority, and a folder with what it has signed for the server.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params
}

impl Authority {
    fn new(name: &str) -> Authority {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("quorate-zookeeper-tls-{process}-{name}-{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut of_authority = params("authority");
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(of_authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params("server").signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.join("authority.pem"), issuer.pem()).unwrap();
        Authority { folder, issuer }
    }

    fn tls(&self, clients: impl FnOnce(Authorities) -> ClientAuth) -> Option<Tls> {
        let authorities = Authorities { certificates: self.folder.join("authority.pem"), revoked: None };
        let (certificate, key) = (self.folder.join("server.pem"), self.folder.join("server.key"));
        Some(
            Tls::load(Files { certificate, key, clients: clients(authorities), protocols: &[] })
                .expect("the files are good"),
        )
    }

    /// A client through TLS, that shows a certificate of this name if it has one.
    async fn client(&self, at: SocketAddr, name: Option<&str>) -> Option<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = KeyPair::generate().unwrap();
                let certificate = params(name).signed_by(&key, &self.issuer).unwrap();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        let stream = TcpStream::connect(at).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let mut client = Client::over(Box::new(stream));
        client.connect(0, Secret::default()).await.map(|_| client)
    }
}

#[tokio::test]
async fn one_port_takes_both_and_another_tls_alone() {
    let authority = Authority::new("both");
    let tls = authority.tls(|_| ClientAuth::None);
    let server = Server::with(Options { tls, ..Options::default() }, None).await;
    let mut plain = server.client().await;
    plain.ask(create("/a", b"", 0)).await.expect("made");
    for at in [server.address, server.secure] {
        let mut client = authority.client(at, None).await.expect("it is let in");
        assert!(client.ask(get("/a", false)).await.is_ok());
        // More than any buffer on the way holds.
        let large = bytes::Bytes::from(vec![7; 900_000]);
        client.ask(set("/a", large.clone())).await.expect("set");
        assert_eq!(data(client.ask(get("/a", false)).await), large);
    }
    let mut refused = Client::over(Box::new(TcpStream::connect(server.secure).await.unwrap()));
    assert_eq!(refused.connect(0, Secret::default()).await, None);
    assert_eq!(server.word("ruok").await, "imok", "words come in the clear");
}

#[tokio::test]
async fn tls_alone_is_tls_alone() {
    let authority = Authority::new("alone");
    let tls = authority.tls(|_| ClientAuth::None);
    let server = Server::with(Options { tls, tls_only: true, ..Options::default() }, None).await;
    assert!(authority.client(server.address, None).await.is_some());
    let mut refused = server.socket().await;
    assert_eq!(refused.connect(0, Secret::default()).await, None);
}

#[tokio::test]
async fn k11_a_certificate_makes_its_holder_somebody_in_an_acl() {
    let authority = Authority::new("x509");
    let tls = authority.tls(ClientAuth::Wanted);
    let server = Server::with(Options { tls, ..Options::default() }, None).await;
    let mut app = authority.client(server.address, Some("app")).await.expect("it is let in");
    let of_app = |path: &str| {
        let mut create = create(path, b"secret", 0);
        if let Request::Create(request) = &mut create {
            request.acl = vec![Acl { permissions: 31, id: Id::new("x509", "O=Example,CN=app") }];
        }
        create
    };
    app.ask(of_app("/app")).await.expect("made");
    assert!(app.ask(get("/app", false)).await.is_ok());
    for mut other in [
        authority.client(server.address, Some("other")).await.expect("it is let in"),
        authority.client(server.address, None).await.expect("a certificate is wanted and not needed"),
        server.client().await,
    ] {
        assert_eq!(other.ask(get("/app", false)).await, Err(ErrorCode::NoAuth.number()));
    }
}

#[tokio::test]
async fn where_a_certificate_is_needed_nobody_comes_in_without_a_good_one() {
    nobody_comes_in_without_a_good_certificate().await;
}

#[cfg(feature = "planted-bugs")]
#[test]
fn s13_a_session_without_the_certificate_that_is_needed_is_found_planted() {
    quorate_consensus::hunt_plant("S13", "K11", [()], |()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(nobody_comes_in_without_a_good_certificate());
    });
}

async fn nobody_comes_in_without_a_good_certificate() {
    let (authority, stranger) = (Authority::new("needed"), Authority::new("stranger"));
    let tls = authority.tls(ClientAuth::Needed);
    let server = Server::with(Options { tls, tls_only: true, ..Options::default() }, None).await;
    assert!(authority.client(server.address, Some("app")).await.is_some());
    assert!(authority.client(server.address, None).await.is_none());
    assert!(stranger.client(server.address, Some("app")).await.is_none(), "nor does it trust this server");
    let forged = stranger.tls(ClientAuth::Needed);
    let other = Server::with(Options { tls: forged, ..Options::default() }, None).await;
    assert!(authority.client(other.address, Some("app")).await.is_none());
}

#[tokio::test]
async fn half_a_handshake_is_forgotten_and_holds_up_nobody() {
    let authority = Authority::new("half");
    let tuning = Tuning { handshake_timeout: Duration::from_millis(200), ..Tuning::default() };
    let tls = authority.tls(|_| ClientAuth::None);
    let server = Server::with(Options { tls, tuning, ..Options::default() }, None).await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(&[0x16, 3, 1, 0, 200, 1, 2, 3]).await.unwrap();
    let silent = TcpStream::connect(server.address).await.unwrap();
    assert!(authority.client(server.address, None).await.is_some());
    sleep(Duration::from_millis(600)).await;
    for stream in [half, silent] {
        let mut client = Client::over(Box::new(stream));
        assert_eq!(client.packet().await, None, "it was closed");
    }
}
