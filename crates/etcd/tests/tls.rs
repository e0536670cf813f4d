//! TLS: what is spoken inside, whose certificate is taken, and who its holder is. One node, no cluster: it is about the door.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{Epoch, GroupId, NodeId, Role, RoleChange, StateMachine as _, Writer};
use quorate_etcd::{Backend, Front, PROTOCOLS, serve};
use quorate_server::CallError;
use quorate_service::{
    KEYS, Reply,
    keyspace::Keyspace,
    node::{GroupStatus, SessionTag},
};
use quorate_tls::{
    Authorities, ClientAuth, Files, Tls,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{PrivateKeyDer, ServerName},
    },
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsConnector;

/// A node that has nothing, and answers at once.
#[derive(Clone)]
struct Empty(Arc<watch::Sender<BTreeMap<GroupId, RoleChange>>>);

impl Backend for Empty {
    async fn propose<F: FnOnce(&mut Writer) + Send>(
        &self,
        _: GroupId,
        _: Option<SessionTag>,
        _: F,
    ) -> Result<Reply, CallError> {
        Err(CallError::Stopped)
    }

    async fn read(&self, group: GroupId) -> Result<Reply, CallError> {
        self.read_local(group).await
    }

    async fn read_local(&self, _: GroupId) -> Result<Reply, CallError> {
        Ok(Reply::KeysView(Keyspace::new().view()))
    }

    async fn status(&self, _: GroupId) -> Result<Option<GroupStatus>, CallError> {
        Ok(None)
    }

    fn transfer_leadership(&self, _: GroupId, _: NodeId) -> Result<(), CallError> {
        Ok(())
    }

    fn relay(&self, _: Option<NodeId>, _: Bytes) {}

    fn role_changes(&self) -> watch::Receiver<BTreeMap<GroupId, RoleChange>> {
        self.0.subscribe()
    }
}

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

fn params(name: &str, host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new(name: &str) -> Authority {
        let folder = std::env::temp_dir().join(format!("quorate-etcd-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut of_authority = params("authority", "nowhere");
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(of_authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params("server", "localhost").signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.join("authority.pem"), issuer.pem()).unwrap();
        Authority { folder, issuer }
    }

    async fn serve(&self, clients: fn(Authorities) -> ClientAuth, names: &[&str]) -> SocketAddr {
        let authorities = Authorities { certificates: self.folder.join("authority.pem"), revoked: None };
        let (certificate, key) = (self.folder.join("server.pem"), self.folder.join("server.key"));
        let files = Files { certificate, key, clients: clients(authorities), protocols: PROTOCOLS };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let role = RoleChange { role: Role::Leader, epoch: Epoch(1), leader: Some(NodeId(1)) };
        let roles = Arc::new(watch::Sender::new(BTreeMap::from([(KEYS, role)])));
        let mut front = Front::new(Empty(roles), 1, 1, "test");
        front.tls = Some(Tls::load(files).unwrap());
        front.client_names = names.iter().map(|name| (*name).to_owned()).collect();
        tokio::spawn(serve(listener, front, std::future::pending()));
        at
    }

    /// `GET /health` through TLS, as a client that shows this certificate; what was negotiated, and what came back.
    async fn health(
        &self,
        at: SocketAddr,
        shows: Option<(&str, &str)>,
        protocol: &str,
    ) -> std::io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some((name, host)) => {
                let key = KeyPair::generate().unwrap();
                let certificate = params(name, host).signed_by(&key, &self.issuer).unwrap();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(at).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        if protocol == "h2" {
            // The preface and empty settings; the server's settings come back.
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).await?;
            return Ok(format!("frame {}", frame[3]));
        }
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_and_http_are_spoken_inside_and_nothing_in_the_clear() {
    let authority = Authority::new("inside");
    let at = authority.serve(|_| ClientAuth::None, &[]).await;
    assert!(
        authority.health(at, None, "http/1.1").await.unwrap().contains(r#"{"health":"true","reason":""}"#)
    );
    assert_eq!(authority.health(at, None, "h2").await.unwrap(), "frame 4");
    let mut plain = TcpStream::connect(at).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("health"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_no_certificate_or_a_strangers_is_not_let_in() {
    let (authority, stranger) = (Authority::new("certificates"), Authority::new("stranger"));
    let at = authority.serve(ClientAuth::Needed, &[]).await;
    assert!(authority.health(at, None, "http/1.1").await.is_err());
    assert!(authority.health(at, Some(("app", "app.example")), "http/1.1").await.unwrap().contains("true"));
    assert!(
        stranger.health(at, Some(("app", "app.example")), "http/1.1").await.is_err(),
        "nor trusts the server"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_certificates_with_a_wanted_name_or_host_are_let_in() {
    let authority = Authority::new("names");
    let at = authority.serve(ClientAuth::Needed, &["app", "db.example"]).await;
    let tries = [
        (("app", "elsewhere.example"), true),
        (("other", "db.example"), true),
        (("other", "elsewhere.example"), false),
        (("app2", "notdb.example"), false),
    ];
    for (shows, let_in) in tries {
        let answer = authority.health(at, Some(shows), "http/1.1").await;
        assert_eq!(answer.is_ok_and(|text| text.contains("true")), let_in, "{shows:?}");
    }
}
