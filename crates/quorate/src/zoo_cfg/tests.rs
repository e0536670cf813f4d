//! Configurations as people have them.

use super::*;

const THREE: &str = "\
tickTime=2000
initLimit=10
syncLimit=5
dataDir=/var/lib/zookeeper
clientPort=2181
maxClientCnxns=0
autopurge.purgeInterval=1
server.1=zk1:2888:3888
server.2=zk2:2888:3888
server.3=zk3:2888:3888:observer
";

/// Reads `zoo.cfg` with these files beside it.
fn read_with(files: &[(&str, &str)], properties: &[&str]) -> Result<ZooCfg, ZooCfgError> {
    let text_of = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let properties: Vec<String> = properties.iter().map(|property| (*property).to_owned()).collect();
    read(Path::new("zoo.cfg"), &properties, &text_of)
}

fn third(extra: &str, properties: &[&str]) -> Result<ZooCfg, ZooCfgError> {
    let text = format!("{THREE}{extra}");
    read_with(&[("zoo.cfg", &text), ("/var/lib/zookeeper/myid", "3\n")], properties)
}

fn value<'a>(zoo_cfg: &'a ZooCfg, key: &str) -> &'a str {
    zoo_cfg.below.get(key).map_or("nothing", |(value, _)| value)
}

fn refused(result: Result<ZooCfg, ZooCfgError>) -> String {
    let error = result.expect_err("refused").to_string();
    assert_eq!(error.lines().count(), 1, "one line: {error}");
    assert!(error.contains("; "), "it says what to do: {error}");
    error
}

#[test]
fn an_ensemble_becomes_a_cluster_and_myid_says_who_is_who() {
    let zoo_cfg = third("", &[]).unwrap();
    for (key, wanted) in [
        ("name", "server.3"),
        ("data-dir", "/var/lib/zookeeper/quorate"),
        ("listen-zookeeper", "0.0.0.0:2181"),
        ("listen-client", ""),
        ("listen-peer", "zk3:2888"),
        ("advertise-peer", "http://zk3:2888"),
        ("initial-cluster", "server.1=http://zk1:2888,server.2=http://zk2:2888,server.3=http://zk3:2888"),
        ("initial-learners", "server.3"),
        ("initial-cluster-token", "zookeeper 1=zk1:2888 2=zk2:2888 3=zk3:2888"),
        ("zookeeper-tick", "2000"),
        ("zookeeper-connections-per-address", "0"),
    ] {
        assert_eq!(value(&zoo_cfg, key), wanted, "{key}");
    }
    assert_eq!(zoo_cfg.below["zookeeper-tick"].1, "tickTime in zoo.cfg");
    let notes = zoo_cfg.notes.join("\n");
    assert!(notes.contains("ignored: autopurge.purgeInterval, initLimit, syncLimit"), "{notes}");
    assert!(notes.contains("elections"), "{notes}");
}

#[test]
fn one_server_without_a_line_of_its_own_stands_alone() {
    let text = "dataDir=data\nclientPort=2181\nclientPortAddress=::1\n";
    let zoo_cfg = read_with(&[("zoo.cfg", text)], &[]).unwrap();
    assert_eq!(value(&zoo_cfg, "listen-zookeeper"), "[::1]:2181");
    assert_eq!(value(&zoo_cfg, "name"), "standalone");
    assert_eq!(value(&zoo_cfg, "initial-cluster"), "nothing");
}

#[test]
fn servers_may_stand_in_a_file_of_their_own_with_the_clients_port_on_their_line() {
    let zoo_cfg = read_with(
        &[
            ("zoo.cfg", "dataDir=/d\ndynamicConfigFile=/d/dyn\npeerType=observer\nquorumListenOnAllIPs=true"),
            ("/d/dyn", "server.7=a:1:2:participant;10.0.0.7:5\nserver.8=b:3:4;6\nversion=100000000"),
            ("/d/myid", "7"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(value(&zoo_cfg, "listen-zookeeper"), "10.0.0.7:5");
    assert_eq!(
        (value(&zoo_cfg, "listen-peer"), value(&zoo_cfg, "advertise-peer")),
        ("0.0.0.0:1", "http://a:1")
    );
    assert!(zoo_cfg.notes.iter().any(|note| note.contains("peerType")), "{:?}", zoo_cfg.notes);
}

#[test]
fn properties_go_before_the_file_with_or_without_their_prefix() {
    let properties = [
        "-",
        "zookeeper.maxSessionTimeout=90000",
        "zookeeper.4lw.commands.whitelist=*",
        "jute.maxbuffer=0x3fffff",
        "zookeeper.extendedTypesEnabled=true",
        "zookeeper.DigestAuthenticationProvider.superDigest=super:hash=",
    ];
    let zoo_cfg =
        third("maxSessionTimeout=40000\nminSessionTimeout=-1\nenforceQuota=true\n", &properties[1..])
            .unwrap();
    for (key, wanted) in [
        ("zookeeper-session-max", "90000"),
        ("zookeeper-session-min", "nothing"),
        ("zookeeper-words", "*"),
        ("zookeeper-packet-bytes", "4194303"),
        ("zookeeper-ttl", "true"),
        ("zookeeper-quotas", "true"),
        ("zookeeper-super", "super:hash="),
    ] {
        assert_eq!(value(&zoo_cfg, key), wanted, "{key}");
    }
    assert_eq!(zoo_cfg.below["zookeeper-session-max"].1, "-Dzookeeper.maxSessionTimeout");
    assert!(refused(third("", &properties[..1])).contains("-D-"));
}

#[test]
fn a_secure_port_an_admin_page_and_key_stores_in_pem() {
    let text = "secureClientPort=2281\nssl.keyStore.location=/k.pem\nssl.trustStore.location=/t.pem\nssl.clientAuth=want\n\
        admin.serverPort=8080\nadmin.serverAddress=127.0.0.1\nreadonlymode.enabled=true\n";
    let zoo_cfg = third(text, &[]).unwrap();
    for (key, wanted) in [
        ("listen-zookeeper-secure", "0.0.0.0:2281"),
        ("listen-zookeeper-admin", "127.0.0.1:8080"),
        ("zookeeper-tls-certificate", "/k.pem"),
        ("zookeeper-tls-key", "/k.pem"),
        ("zookeeper-tls-client-ca", "/t.pem"),
        ("zookeeper-tls-client-auth", "want"),
        ("zookeeper-read-only", "true"),
    ] {
        assert_eq!(value(&zoo_cfg, key), wanted, "{key}");
    }
    assert_eq!(
        value(&third("admin.serverPort=1\nadmin.enableServer=false", &[]).unwrap(), "listen-zookeeper-admin"),
        "nothing"
    );
    let nobody = third(&text.replace("=want", "=none"), &[]).unwrap();
    assert_eq!(value(&nobody, "zookeeper-tls-client-ca"), "nothing");
    assert!(refused(third("ssl.keyStore.location=/k.jks", &[])).contains("openssl"));
}

#[test]
fn what_is_ignored_is_named() {
    let zoo_cfg =
        third("dataLogDir=/log\nreconfigEnabled=true\ntickTme=1\nssl.keyStore.password=x\n", &[]).unwrap();
    let notes = zoo_cfg.notes.join("\n");
    for name in ["dataLogDir", "reconfigEnabled", "tickTme", "ssl.keyStore.password"] {
        assert!(notes.contains(name), "{name}: {notes}");
    }
}

#[test]
fn protection_that_is_not_built_is_refused_and_not_left_out() {
    for line in ["quorum.auth.enableSasl=true", "requireClientAuthScheme=sasl"] {
        let error = refused(third(line, &[]));
        assert!(error.contains(line.split('=').next().unwrap()), "{error}");
    }
    assert!(third("requireClientAuthScheme=", &[]).is_ok());
}

#[test]
fn tls_between_servers_is_on_with_both_of_its_stores_and_only_if_it_is_asked_for() {
    let stores = "ssl.quorum.keyStore.location=/q.pem\nssl.quorum.trustStore.location=/qt.pem\n";
    let zoo_cfg = third(&format!("sslQuorum=true\n{stores}"), &[]).unwrap();
    for (key, wanted) in
        [("peer-tls-certificate", "/q.pem"), ("peer-tls-key", "/q.pem"), ("peer-tls-ca", "/qt.pem")]
    {
        assert_eq!(value(&zoo_cfg, key), wanted, "{key}");
    }
    let off = third(&format!("sslQuorum=false\n{stores}"), &[]).unwrap();
    assert_eq!(value(&off, "peer-tls-certificate"), "nothing");
    // Who the servers are does not hang on it: an ensemble may turn it on.
    assert_eq!(value(&off, "initial-cluster"), value(&zoo_cfg, "initial-cluster"));
    assert!(refused(third("sslQuorum=true", &[])).contains("ssl.quorum.keyStore.location is missing"));
    let jks = stores.replace("/qt.pem", "/qt.jks");
    assert!(refused(third(&format!("sslQuorum=true\n{jks}"), &[])).contains("openssl"));
}

#[test]
fn what_is_missing_is_named_with_the_mend() {
    assert!(refused(read_with(&[], &[])).contains("zoo.cfg"));
    assert!(refused(read_with(&[("zoo.cfg", "clientPort=1")], &[])).contains("dataDir"));
    assert!(refused(read_with(&[("zoo.cfg", "dataDir=/d")], &[])).contains("clientPort"));
    assert!(refused(read_with(&[("zoo.cfg", THREE)], &[])).contains("myid"));
    let of_another = [("zoo.cfg", THREE), ("/var/lib/zookeeper/myid", "4")];
    assert!(refused(read_with(&of_another, &[])).contains("\"4\""));
    let line = refused(third("server.x=h:1:2", &[]));
    assert!(line.contains("server.x"), "{line}");
}
