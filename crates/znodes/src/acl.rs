//! Who may do what: identities, ACLs, and how one is held against the other.

use std::collections::BTreeSet;
use std::fmt;

use crate::address::{Network, address};
use crate::limits::{ACL_BYTES_MAX, ACL_ENTRIES_MAX};
use crate::{LimitKind, ZnodeError};

/// What an ACL entry allows: ZooKeeper's five bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permissions(pub i32);

impl Permissions {
    /// Data, children and stat may be read.
    pub const READ: Permissions = Permissions(1);
    /// Data may be set.
    pub const WRITE: Permissions = Permissions(2);
    /// Children may be created.
    pub const CREATE: Permissions = Permissions(4);
    /// Children may be deleted.
    pub const DELETE: Permissions = Permissions(8);
    /// The ACL may be set.
    pub const ADMIN: Permissions = Permissions(16);
    /// All of it.
    pub const ALL: Permissions = Permissions(31);

    fn overlaps(self, other: Permissions) -> bool {
        self.0 & other.0 != 0
    }
}

/// Someone, or a rule for someone: what authentication gives a connection, and what an ACL entry names.
///
/// Of a connection: `digest` with `user:hash`, `ip` with the client's address, `x509` with the certificate's subject, `super`, which
/// may do everything. Of an entry: `world` with `anyone`, `digest`, `ip` with an address or a network, `x509`, and `auth`, which
/// stands for the digest and x509 identities of whoever sets it and is never stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// How it was, or is to be, authenticated.
    pub scheme: String,
    /// Who, in the words of the scheme.
    pub id: String,
}

impl Identity {
    /// The identity `scheme:id`.
    #[must_use]
    pub fn new(scheme: &str, id: &str) -> Identity {
        Identity { scheme: scheme.to_owned(), id: id.to_owned() }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.id)
    }
}

/// One entry of an ACL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// What is allowed.
    pub permissions: Permissions,
    /// To whom.
    pub identity: Identity,
}

impl Acl {
    /// An entry.
    #[must_use]
    pub fn new(permissions: Permissions, scheme: &str, id: &str) -> Acl {
        Acl { permissions, identity: Identity::new(scheme, id) }
    }

    /// Everyone may do `permissions`.
    #[must_use]
    pub fn world(permissions: Permissions) -> Acl {
        Acl::new(permissions, "world", "anyone")
    }
}

/// May somebody with these identities do any of `wanted`? With one permission wanted, "any" is "this"; getACL wants read or admin.
///
/// An entry of another scheme than those known here, which is never stored, allows nobody.
#[must_use]
pub fn allows(acl: &[Acl], wanted: Permissions, identities: &[Identity]) -> bool {
    identities.iter().any(|identity| identity.scheme == "super")
        || acl.iter().filter(|entry| entry.permissions.overlaps(wanted)).any(|entry| {
            is_anyone(&entry.identity) || identities.iter().any(|who| matches(who, &entry.identity))
        })
}

fn is_anyone(rule: &Identity) -> bool {
    rule.scheme == "world" && rule.id == "anyone"
}

fn matches(who: &Identity, rule: &Identity) -> bool {
    who.scheme == rule.scheme
        && match rule.scheme.as_str() {
            "digest" | "x509" => who.id == rule.id,
            "ip" => match (Network::parse(&rule.id), address(&who.id)) {
                (Some(network), Some(address)) => network.contains(&address),
                (_, _) => false,
            },
            _ => false,
        }
}

/// The ACL as it is stored: without duplicates, every entry well formed, `auth` replaced by who asks.
///
/// # Errors
/// [`InvalidAcl`](ZnodeError::InvalidAcl) for an empty list, an unknown scheme, an id that its scheme does not know, or `auth` from
/// somebody who is not authenticated; [`Limit`](ZnodeError::Limit) for one that grows too long.
pub(crate) fn settle(acl: &[Acl], identities: &[Identity]) -> Result<Vec<Acl>, ZnodeError> {
    let mut settled = Vec::with_capacity(acl.len());
    let mut seen = BTreeSet::new();
    for entry in acl {
        if !seen.insert(entry) {
            continue;
        }
        if entry.identity.scheme == "auth" {
            let authenticated =
                identities.iter().filter(|identity| matches!(identity.scheme.as_str(), "digest" | "x509"));
            let before = settled.len();
            settled.extend(
                authenticated
                    .map(|identity| Acl { permissions: entry.permissions, identity: identity.clone() }),
            );
            if settled.len() == before {
                return Err(ZnodeError::InvalidAcl);
            }
        } else if is_well_formed(&entry.identity) {
            settled.push(entry.clone());
        } else {
            return Err(ZnodeError::InvalidAcl);
        }
    }
    if settled.is_empty() {
        return Err(ZnodeError::InvalidAcl);
    }
    check_size(&settled)?;
    Ok(settled)
}

/// Is the list short enough?
pub(crate) fn check_size(acl: &[Acl]) -> Result<(), ZnodeError> {
    let bytes: usize = acl.iter().map(|entry| entry.identity.scheme.len() + entry.identity.id.len()).sum();
    if acl.len() > ACL_ENTRIES_MAX || bytes > ACL_BYTES_MAX {
        return Err(ZnodeError::Limit(LimitKind::Acl));
    }
    Ok(())
}

fn is_well_formed(rule: &Identity) -> bool {
    match rule.scheme.as_str() {
        "world" => is_anyone(rule),
        "digest" => has_two_parts(&rule.id),
        "ip" => Network::parse(&rule.id).is_some(),
        "x509" => is_distinguished_name(&rule.id),
        _ => false,
    }
}

/// `user:hash`, as Java's `split(":")` counts: empty parts at the end do not.
fn has_two_parts(id: &str) -> bool {
    id.trim_end_matches(':').matches(':').count() == 1
}

/// A subject such as `CN=web,O=Example`: attributes with values. Java parses it fully; we look at its shape.
fn is_distinguished_name(id: &str) -> bool {
    !id.is_empty()
        && id.split(',').all(|part| part.split_once('=').is_some_and(|(name, _)| !name.trim().is_empty()))
}

/// The list for somebody who may read but not set it: hashes of passwords are masked.
pub(crate) fn masked(acl: &[Acl]) -> Vec<Acl> {
    let mask = |entry: &Acl| match (entry.identity.scheme.as_str(), entry.identity.id.split_once(':')) {
        ("digest", Some((user, _))) => Acl::new(entry.permissions, "digest", &format!("{user}:x")),
        (_, _) => entry.clone(),
    };
    acl.iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(scheme: &str, id: &str) -> Vec<Identity> {
        vec![Identity::new(scheme, id)]
    }

    #[test]
    fn k11_each_scheme_matches_as_zookeeper_does() {
        let read = Permissions::READ;
        let one = |scheme: &str, id: &str| [Acl::new(read, scheme, id)];
        assert!(allows(&one("world", "anyone"), read, &[]));
        assert!(!allows(&one("world", "anyone"), Permissions::WRITE, &[]));
        assert!(allows(&one("digest", "u:h"), read, &who("digest", "u:h")));
        assert!(!allows(&one("digest", "u:h"), read, &who("digest", "u:i")));
        assert!(!allows(&one("digest", "u:h"), read, &who("x509", "u:h")));
        assert!(allows(&one("ip", "10.1.0.0/16"), read, &who("ip", "10.1.2.3")));
        assert!(!allows(&one("ip", "10.1.0.0/16"), read, &who("ip", "10.2.2.3")));
        assert!(allows(&one("ip", "::1"), read, &who("ip", "0:0:0:0:0:0:0:1")));
        assert!(allows(&one("x509", "CN=a"), read, &who("x509", "CN=a")));
        assert!(allows(&one("digest", "u:h"), Permissions::ADMIN, &who("super", "")));
        assert!(allows(&[Acl::world(Permissions::ADMIN)], Permissions(17), &[]), "any of what is wanted");
    }

    #[test]
    fn k11_only_well_formed_lists_are_stored() {
        let user = who("digest", "u:h");
        for bad in [
            vec![],
            vec![Acl::new(Permissions::ALL, "world", "somebody")],
            vec![Acl::new(Permissions::ALL, "digest", "u")],
            vec![Acl::new(Permissions::ALL, "digest", "a:b:c")],
            vec![Acl::new(Permissions::ALL, "ip", "10.1")],
            vec![Acl::new(Permissions::ALL, "ip", "10.1.1.1/33")],
            vec![Acl::new(Permissions::ALL, "super", "")],
            vec![Acl::new(Permissions::ALL, "sasl", "a@B")],
            vec![Acl::new(Permissions::ALL, "x509", "nobody")],
        ] {
            assert_eq!(settle(&bad, &user), Err(ZnodeError::InvalidAcl), "{bad:?}");
        }
        let auth = [Acl::new(Permissions::READ, "auth", "")];
        assert_eq!(settle(&auth, &who("ip", "1.2.3.4")), Err(ZnodeError::InvalidAcl));
        assert_eq!(settle(&auth, &user), Ok(vec![Acl::new(Permissions::READ, "digest", "u:h")]));
        let twice = [Acl::world(Permissions::READ), Acl::world(Permissions::READ)];
        assert_eq!(settle(&twice, &[]), Ok(vec![Acl::world(Permissions::READ)]));
        let many = vec![Acl::world(Permissions(1)); 1];
        let many: Vec<Acl> = (0..=ACL_ENTRIES_MAX as i32)
            .map(|n| Acl { permissions: Permissions(n), ..many[0].clone() })
            .collect();
        assert_eq!(settle(&many, &[]), Err(ZnodeError::Limit(LimitKind::Acl)));
    }

    #[test]
    fn k11_hashes_are_masked() {
        let acl = [Acl::new(Permissions::ALL, "digest", "u:h"), Acl::new(Permissions::READ, "ip", "1.2.3.4")];
        assert_eq!(masked(&acl), [Acl::new(Permissions::ALL, "digest", "u:x"), acl[1].clone()]);
    }
}
