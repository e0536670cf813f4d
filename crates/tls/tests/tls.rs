//! Files that change, files that are wrong, and certificates that were revoked.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test lives in the real world")]

mod support;

use std::{path::PathBuf, sync::Arc, time::Duration};

use quorate_tls::{
    Authorities, ClientAuth, Files, Tls,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
    subject,
};
use support::{Folder, Issuer, Signed, authority, revoke, sign};
use tokio_rustls::TlsConnector;

/// Shakes hands over a pipe; whom the server and the client see.
async fn shake(
    tls: &Tls,
    trusts: &Issuer,
    shows: Option<&Signed>,
) -> Option<(CertificateDer<'static>, Option<String>)> {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shows {
        None => builder.with_no_client_auth(),
        Some(Signed { der, key, .. }) => builder
            .with_client_auth_cert(vec![der.clone()], PrivateKeyDer::try_from(key.clone()).unwrap())
            .unwrap(),
    };
    let (near, far) = tokio::io::duplex(1 << 16);
    let connector = TlsConnector::from(Arc::new(config));
    let (server, client) = tokio::join!(
        tls.acceptor().accept(near),
        connector.connect(ServerName::try_from("localhost").unwrap(), far)
    );
    let (server, client) = (server.ok()?, client.ok()?);
    let of_client = server.get_ref().1.peer_certificates().and_then(|chain| subject(chain.first()?));
    Some((client.get_ref().1.peer_certificates()?.first()?.clone().into_owned(), of_client))
}

#[tokio::test(flavor = "current_thread")]
async fn a_renewed_certificate_counts_without_a_restart_and_a_broken_one_never() {
    let (folder, issuer) = (Folder::new("renewed"), authority());
    let (first, second) = (sign(&issuer, "first", 1), sign(&issuer, "second, which is longer", 2));
    let files = Files {
        certificate: folder.put("server.pem", &first.pem),
        key: folder.put("server.key", &first.key_pem),
        clients: ClientAuth::None,
        protocols: &[],
    };
    let tls = Tls::load_looking_every(files, Duration::ZERO).unwrap();
    assert_eq!(shake(&tls, &issuer, None).await.unwrap().0, first.der);
    folder.put("server.pem", "this is no certificate");
    assert_eq!(shake(&tls, &issuer, None).await.unwrap().0, first.der, "what was read before stays in force");
    // The new certificate with the old key: they do not go together.
    folder.put("server.pem", &second.pem);
    assert_eq!(shake(&tls, &issuer, None).await.unwrap().0, first.der);
    folder.put("server.key", &second.key_pem);
    assert_eq!(shake(&tls, &issuer, None).await.unwrap().0, second.der);
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_has_the_name_of_its_certificate_unless_that_is_revoked_or_somebody_elses() {
    let (folder, issuer, other) = (Folder::new("clients"), authority(), authority());
    let server = sign(&issuer, "server", 1);
    let authorities = Authorities {
        certificates: folder.put("authority.pem", &issuer.pem()),
        revoked: Some(folder.put("revoked.pem", &revoke(&issuer, 7))),
    };
    let files = |clients| Files {
        certificate: folder.put("server.pem", &server.pem),
        key: folder.put("server.key", &server.key_pem),
        clients,
        protocols: &[],
    };
    let wanted = Tls::load(files(ClientAuth::Wanted(authorities.clone()))).unwrap();
    let (good, bad) = (sign(&issuer, "app", 6), sign(&issuer, "app", 7));
    assert_eq!(shake(&wanted, &issuer, Some(&good)).await.unwrap().1.as_deref(), Some("CN=app"));
    assert_eq!(shake(&wanted, &issuer, None).await.unwrap().1, None);
    assert!(shake(&wanted, &issuer, Some(&bad)).await.is_none(), "revoked");
    assert!(
        shake(&wanted, &issuer, Some(&sign(&other, "app", 6))).await.is_none(),
        "signed by somebody else"
    );
    let needed = Tls::load(files(ClientAuth::Needed(authorities))).unwrap();
    assert!(shake(&needed, &issuer, Some(&good)).await.is_some());
    assert!(shake(&needed, &issuer, None).await.is_none());
}

#[test]
fn errors_name_the_file_and_the_mend() {
    let (folder, issuer) = (Folder::new("errors"), authority());
    let signed = sign(&issuer, "server", 1);
    let (certificate, key) =
        (folder.put("server.pem", &signed.pem), folder.put("server.key", &signed.key_pem));
    let error = |certificate: &PathBuf, key: &PathBuf| {
        let files = Files {
            certificate: certificate.clone(),
            key: key.clone(),
            clients: ClientAuth::None,
            protocols: &[],
        };
        Tls::load(files).unwrap_err().to_string()
    };
    let missing = error(&folder.0.join("nowhere.pem"), &key);
    assert!(
        missing.contains("nowhere.pem has no certificate that can be used") && missing.contains("PEM"),
        "{missing}"
    );
    assert!(error(&certificate, &certificate).contains("server.pem has no private key"));
    assert!(error(&key, &key).contains("server.key has no certificate"));
    let other = folder.put("other.key", &sign(&issuer, "other", 2).key_pem);
    assert!(error(&certificate, &other).contains("do not go together"));
}
