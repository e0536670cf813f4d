//! Between members: who is let in, by whoever listens and by whoever dials, and from when on.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test lives in the real world")]

mod support;

use std::time::Duration;

use quorate_tls::{
    Authorities, MemberFiles, Members,
    rustls::{ClientConnection, Connection, Error, HandshakeKind, ServerConnection, pki_types::ServerName},
};
use support::{Folder, Issuer, Signed, authority, revoke, sign, sign_for};

/// A member with its files in a folder of its own.
struct Member {
    folder: Folder,
    files: MemberFiles,
}

impl Member {
    fn new(name: &str, signed: &Signed, trusts: &Issuer) -> Member {
        let folder = Folder::new(name);
        let files = MemberFiles {
            certificate: folder.put("member.pem", &signed.pem),
            key: folder.put("member.key", &signed.key_pem),
            to_dial: None,
            authorities: Authorities {
                certificates: folder.put("authority.pem", &trusts.pem()),
                revoked: None,
            },
            names: Vec::new(),
        };
        Member { folder, files }
    }

    fn revoking(mut self, list: &str) -> Member {
        self.files.authorities.revoked = Some(self.folder.put("revoked.pem", list));
        self
    }

    fn load(&self) -> Members {
        Members::load_looking_every(self.files.clone(), Duration::ZERO).unwrap()
    }
}

/// One dials the other at `host`; what stops them, if anything does.
fn shake(dials: &Members, listens: &Members, host: &'static str) -> Result<HandshakeKind, Error> {
    let name = ServerName::try_from(host).unwrap();
    let mut out = Connection::from(ClientConnection::new(dials.outgoing(), name).unwrap());
    let mut into = Connection::from(ServerConnection::new(listens.incoming()).unwrap());
    let mut wire = Vec::new();
    while out.wants_write() || into.wants_write() {
        for way in 0..2 {
            let (from, to) = if way == 0 { (&mut out, &mut into) } else { (&mut into, &mut out) };
            wire.clear();
            while from.wants_write() {
                from.write_tls(&mut wire).unwrap();
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                to.read_tls(&mut rest).unwrap();
                to.process_new_packets()?;
            }
        }
    }
    assert!(!out.is_handshaking() && !into.is_handshaking());
    let named = |by: &Members, connection: &Connection| by.admits(connection.peer_certificates());
    if named(dials, &out) && named(listens, &into) {
        Ok(out.handshake_kind().unwrap())
    } else {
        Err(Error::General("a name".to_owned()))
    }
}

#[test]
fn members_of_one_authority_meet_and_strangers_are_refused_whoever_dials() {
    let (ours, theirs) = (authority(), authority());
    let a = Member::new("meet-a", &sign(&ours, "a", 1), &ours).load();
    let b = Member::new("meet-b", &sign(&ours, "b", 2), &ours).load();
    // It trusts ours, but is signed by somebody else.
    let stranger = Member::new("meet-c", &sign(&theirs, "a", 1), &ours).load();
    for _ in 0..2 {
        // Never resumed: a resumed session shows no certificate.
        assert_eq!(shake(&a, &b, "localhost"), Ok(HandshakeKind::Full));
    }
    assert!(shake(&stranger, &b, "localhost").is_err());
    assert!(shake(&a, &stranger, "localhost").is_err());
    assert!(shake(&a, &b, "elsewhere.example").is_err(), "a certificate for another host");
}

#[test]
fn what_is_revoked_is_refused_on_both_ends_from_the_next_handshake_on() {
    let ours = authority();
    let nothing = revoke(&ours, 99);
    let a = Member::new("revoked-a", &sign(&ours, "a", 1), &ours).revoking(&nothing);
    let b = Member::new("revoked-b", &sign(&ours, "b", 2), &ours);
    let (members_a, members_b) = (a.load(), b.load());
    assert!(shake(&members_a, &members_b, "localhost").is_ok());
    assert!(shake(&members_b, &members_a, "localhost").is_ok());
    a.folder.put("revoked.pem", &revoke(&ours, 2));
    assert!(shake(&members_a, &members_b, "localhost").is_err(), "it dials");
    assert!(shake(&members_b, &members_a, "localhost").is_err(), "it is dialled");
}

#[test]
fn a_renewed_certificate_and_a_new_authority_count_without_a_restart() {
    let (old, new) = (authority(), authority());
    let a = Member::new("renewed-a", &sign(&old, "a", 1), &old);
    let b = Member::new("renewed-b", &sign(&old, "b", 2), &old);
    let (members_a, members_b) = (a.load(), b.load());
    let renewed = sign(&new, "b, renewed", 3);
    b.folder.put("member.pem", &renewed.pem);
    assert!(
        shake(&members_a, &members_b, "localhost").is_ok(),
        "half of it, without its key, changes nothing"
    );
    b.folder.put("member.key", &renewed.key_pem);
    assert!(shake(&members_a, &members_b, "localhost").is_err(), "nobody trusts the new authority yet");
    a.folder.put("authority.pem", &format!("{}{}", old.pem(), new.pem()));
    assert!(shake(&members_a, &members_b, "localhost").is_ok());
    assert!(shake(&members_b, &members_a, "localhost").is_ok());
}

#[test]
fn of_one_authority_only_those_with_a_members_name_are_members() {
    let ours = authority();
    let mut a = Member::new("names-a", &sign(&ours, "etcd-a", 1), &ours);
    a.files.names = vec!["etcd-a".to_owned(), "B.example".to_owned()];
    let by_host =
        Member::new("names-b", &sign_for(&ours, "no matter", 2, &["b.example", "localhost"]), &ours).load();
    let client = Member::new("names-c", &sign(&ours, "a client", 3), &ours).load();
    let nobody = Member::new("names-d", &sign(&ours, "", 4), &ours).load();
    let a = a.load();
    assert!(shake(&by_host, &a, "localhost").is_ok());
    assert!(shake(&a, &by_host, "localhost").is_ok());
    assert!(shake(&nobody, &a, "localhost").is_err(), "no name at all is none of the members'");
    assert!(shake(&client, &a, "localhost").is_err());
    assert!(shake(&a, &client, "localhost").is_err());
    assert!(!a.admits(None));
}

#[test]
fn another_certificate_may_be_shown_by_whoever_dials() {
    let ours = authority();
    let mut a = Member::new("dial-a", &sign(&ours, "a", 1), &ours);
    let to_dial = sign(&ours, "a as a client", 2);
    let put = |name, text| a.folder.put(name, text);
    a.files.to_dial = Some((put("dial.pem", &to_dial.pem), put("dial.key", &to_dial.key_pem)));
    let mut b = Member::new("dial-b", &sign(&ours, "b", 3), &ours);
    b.files.names = vec!["a as a client".to_owned()];
    let (a, b) = (a.load(), b.load());
    assert!(shake(&a, &b, "localhost").is_ok());
    assert!(shake(&b, &a, "localhost").is_err(), "listening, it shows the other");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn p09_a_listener_that_does_not_look_at_what_is_revoked_is_found_planted() {
    let check = |()| what_is_revoked_is_refused_on_both_ends_from_the_next_handshake_on();
    quorate_consensus::hunt_plant("P09", "E8", [()], check);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn p12_a_certificate_without_a_name_that_is_not_looked_at_is_found_planted() {
    let check = |()| of_one_authority_only_those_with_a_members_name_are_members();
    quorate_consensus::hunt_plant("P12", "E8", [()], check);
}
