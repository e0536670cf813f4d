//! What each name means here.

/// What becomes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is a key of `serve`.
    Key(&'static str),
    /// It is looked at together with others.
    Here,
    /// It has no use here, and nothing is lost with it.
    Unneeded,
    /// It is left out, and somebody may miss it.
    Ignored(&'static str),
    /// It is refused if it is on: to leave it out would be a trap.
    Must(&'static str),
    /// Nobody knows it.
    Unknown,
}

use Meaning::{Here, Ignored, Key, Must, Unneeded};

const SASL: &str =
    "SASL is not built yet: anybody would be let in; take it out if that may be, or wait with this server";

const NAMES: &[(&str, Meaning)] = &[
    ("4lw.commands.whitelist", Key("zookeeper-words")),
    ("DigestAuthenticationProvider.superDigest", Key("zookeeper-super")),
    ("enforceQuota", Key("zookeeper-quotas")),
    ("extendedTypesEnabled", Key("zookeeper-ttl")),
    ("jute.maxbuffer", Key("zookeeper-packet-bytes")),
    ("maxClientCnxns", Key("zookeeper-connections-per-address")),
    ("maxSessionTimeout", Key("zookeeper-session-max")),
    ("minSessionTimeout", Key("zookeeper-session-min")),
    ("readonlymode.enabled", Key("zookeeper-read-only")),
    ("ssl.clientAuth", Key("zookeeper-tls-client-auth")),
    ("tickTime", Key("zookeeper-tick")),
    ("admin.enableServer", Here),
    ("admin.serverAddress", Here),
    ("admin.serverPort", Here),
    ("clientPort", Here),
    ("clientPortAddress", Here),
    ("dataDir", Here),
    ("peerType", Here),
    ("quorumListenOnAllIPs", Here),
    ("secureClientPort", Here),
    ("secureClientPortAddress", Here),
    ("ssl.keyStore.location", Here),
    ("ssl.quorum.keyStore.location", Here),
    ("ssl.quorum.trustStore.location", Here),
    ("ssl.trustStore.location", Here),
    ("sslQuorum", Here),
    ("client.portUnification", Unneeded),
    ("cnxTimeout", Unneeded),
    ("commitProcessor.numWorkerThreads", Unneeded),
    ("electionAlg", Unneeded),
    ("fsync.warningthresholdms", Unneeded),
    ("globalOutstandingLimit", Unneeded),
    ("initLimit", Unneeded),
    ("nio.numSelectorThreads", Unneeded),
    ("nio.numWorkerThreads", Unneeded),
    ("preAllocSize", Unneeded),
    ("serverCnxnFactory", Unneeded),
    ("snapCount", Unneeded),
    ("standaloneEnabled", Unneeded),
    ("syncEnabled", Unneeded),
    ("syncLimit", Unneeded),
    ("version", Unneeded),
    ("dataLogDir", Ignored("the log is under dataDir, beside the snapshots")),
    ("forceSync", Ignored("what is answered is always on disk")),
    ("leaderServes", Ignored("a leader serves clients, too")),
    ("localSessionsEnabled", Ignored("every session is one of the whole ensemble")),
    ("maxCnxns", Ignored("the most is 10,000")),
    ("metricsProvider.className", Ignored("metrics are on the admin page, /metrics, and in mntr")),
    ("reconfigEnabled", Ignored("members are changed with `quorate member`, which needs --listen-client")),
    ("portUnification", Ignored("servers speak through TLS, or in the clear, all of them alike")),
    ("skipACL", Ignored("ACLs are always looked at")),
    ("enforce.auth.enabled", Must(SASL)),
    ("quorum.auth.enableSasl", Must(SASL)),
    ("requireClientAuthScheme", Must(SASL)),
    ("sessionRequireClientSASLAuth", Must(SASL)),
];

/// Names that begin so.
const FAMILIES: &[(&str, Meaning)] = &[
    ("server.", Here),
    ("autopurge.", Unneeded),
    ("learner.", Unneeded),
    ("admin.", Ignored("the admin page has no such choice")),
    ("authProvider.", Ignored("world, auth, digest, ip and x509 are the schemes that there are")),
    ("group.", Ignored("a majority of all voters decides")),
    ("metricsProvider.", Ignored("metrics are on the admin page, /metrics, and in mntr")),
    ("quorum.auth.", Ignored("SASL is not built yet")),
    (
        "ssl.quorum.",
        Ignored(
            "a key store is a PEM file without a password; a server's certificate must be signed by one in the trust store, and be for the host of its line",
        ),
    ),
    ("ssl.", Ignored("a key store is a PEM file without a password, and nothing else of it can be chosen")),
    ("weight.", Ignored("a majority of all voters decides")),
];

pub(super) fn meaning(name: &str) -> Meaning {
    let whole = NAMES.iter().find(|(known, _)| *known == name);
    let family = || FAMILIES.iter().find(|(begin, _)| name.starts_with(begin));
    whole.or_else(family).map_or(Meaning::Unknown, |(_, meaning)| *meaning)
}

/// Does the value switch something on? A scheme's name does, too.
pub(super) fn is_on(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0" | "")
}

/// The value as `serve` has it; none for what stands for "as usual".
pub(super) fn in_our_words(key: &str, value: &str) -> Option<String> {
    match (key, value) {
        (_, "")
        | ("zookeeper-session-min" | "zookeeper-session-max", "-1")
        | ("zookeeper-tls-client-auth", "none") => None,
        // Java reads hexadecimal numbers here, and people write them.
        ("zookeeper-packet-bytes", value) => {
            let digits = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X"));
            let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            Some(number.map_or_else(|| value.to_owned(), |number| number.to_string()))
        }
        (_, value) => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_and_a_whole_name_goes_before_its_family() {
        for (at, (name, meaning)) in NAMES.iter().enumerate() {
            assert!(NAMES[at + 1..].iter().all(|(other, _)| other != name), "{name}");
            assert_eq!(super::meaning(name), *meaning, "{name}");
        }
        assert_eq!(meaning("quorum.auth.enableSasl"), Must(SASL));
        assert!(matches!(meaning("quorum.auth.learnerRequireSasl"), Ignored(_)));
        assert_eq!(meaning("server.1"), Here);
        assert_eq!(meaning("tickTme"), Meaning::Unknown);
    }
}
