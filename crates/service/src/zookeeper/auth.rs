//! Who a connection is.

use quorate_wire::zookeeper::{AuthPacket, ClientInfo};
use quorate_znodes::{ACL_BYTES_MAX, IDENTITIES_MAX, Identity};

use super::Settings;
use super::digest::digest_id;

/// The identities of a connection once it has shown these credentials as well; none if they are refused. `ip` is every connection's from the start,
/// so that asking for it changes nothing; whatever other scheme is refused, SASL too.
pub(super) fn authenticate(
    packet: &AuthPacket,
    known: &[Identity],
    settings: &Settings,
) -> Option<Vec<Identity>> {
    let mut identities = known.to_vec();
    let mut add = |identity: Identity| {
        if !identities.contains(&identity) {
            identities.push(identity);
        }
    };
    match packet.scheme.as_str() {
        "ip" => {}
        "digest" => {
            let id = digest_id(&String::from_utf8_lossy(packet.credentials.0.as_ref()?));
            if settings.super_digest.as_ref() == Some(&id) {
                add(Identity::new("super", ""));
            }
            add(Identity::new("digest", &id));
        }
        _ => return None,
    }
    let bytes: usize = identities.iter().map(|identity| identity.scheme.len() + identity.id.len()).sum();
    (identities.len() <= IDENTITIES_MAX && bytes <= ACL_BYTES_MAX).then_some(identities)
}

/// What whoAmI tells: a user for each identity that has one, and never a hash.
pub(super) fn clients(identities: &[Identity]) -> Vec<ClientInfo> {
    let user = |identity: &Identity| match identity.scheme.as_str() {
        "digest" => identity.id.split(':').next().map(str::to_owned),
        "ip" | "x509" => Some(identity.id.clone()),
        _ => None,
    };
    identities
        .iter()
        .filter_map(|identity| Some(ClientInfo { scheme: identity.scheme.clone(), user: user(identity)? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use quorate_wire::zookeeper::Secret;

    use super::*;

    fn packet(scheme: &str, credentials: Option<&'static str>) -> AuthPacket {
        AuthPacket { kind: 0, scheme: scheme.into(), credentials: Secret(credentials.map(Into::into)) }
    }

    #[test]
    fn k11_digests_add_up_and_the_super_digest_makes_super() {
        let mut settings = Settings::default();
        let ip = vec![Identity::new("ip", "10.0.0.1")];
        let once = authenticate(&packet("digest", Some("super:admin")), &ip, &settings).unwrap();
        assert_eq!(once.len(), 2);
        assert_eq!(authenticate(&packet("digest", Some("super:admin")), &once, &settings).unwrap(), once);
        assert_eq!(authenticate(&packet("ip", None), &once, &settings).unwrap(), once);
        settings.super_digest = Some(digest_id("super:admin"));
        let all = authenticate(&packet("digest", Some("super:admin")), &ip, &settings).unwrap();
        assert!(all.contains(&Identity::new("super", "")));
        let users: Vec<_> = clients(&all).into_iter().map(|client| client.user).collect();
        assert_eq!(users, ["10.0.0.1", "super"]);
    }

    #[test]
    fn k11_other_schemes_and_endless_identities_are_refused() {
        let settings = Settings::default();
        for scheme in ["world", "auth", "super", "sasl", "x509", ""] {
            assert_eq!(authenticate(&packet(scheme, Some("a:b")), &[], &settings), None, "{scheme}");
        }
        assert_eq!(authenticate(&packet("digest", None), &[], &settings), None);
        let many: Vec<_> = (0..IDENTITIES_MAX).map(|n| Identity::new("digest", &format!("u{n}:h"))).collect();
        assert_eq!(authenticate(&packet("digest", Some("a:b")), &many, &settings), None);
    }
}
