//! What command lines come to.

use std::io;

use super::*;

fn served(
    arguments: &[&str],
    variables: &[(&str, &str)],
    file: &str,
) -> Result<(Below, Vec<String>), EtcdFlagsError> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let text_of =
        |_: &Path| if file.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(file.to_owned()) };
    match read(&arguments, &variable, &text_of)? {
        Asked::Serve { below, notes } => Ok((below, notes)),
        Asked::Version | Asked::Help => panic!("nothing to serve"),
    }
}

fn says(below: &Below, key: &str) -> String {
    below.get(key).map_or("", |(value, _)| value.as_str()).to_owned()
}

#[test]
fn without_a_word_it_is_etcds_own_defaults() {
    let (below, notes) = served(&[], &[], "").unwrap();
    assert_eq!(notes, Vec::<String>::new());
    let wanted = [
        ("name", "default"),
        ("data-dir", "default.etcd"),
        ("listen-client", "http://localhost:2379"),
        ("listen-peer", "http://localhost:2380"),
        ("advertise-peer", "http://localhost:2380"),
        ("initial-cluster", ""),
        ("initial-cluster-token", "etcd-cluster"),
        ("heartbeat-interval", "100"),
        ("election-timeout-min", "1000"),
        ("election-timeout-max", "2000"),
        ("quota-bytes", "2GiB"),
        ("tree-engine", "off"),
        ("log-format", "json"),
        ("watch-progress-interval", "600000"),
        ("auth-token", "simple"),
        ("auth-token-ttl", "300"),
        ("bcrypt-cost", "10"),
    ];
    for (key, value) in wanted {
        assert_eq!(says(&below, key), value, "{key}");
    }
}

#[test]
fn gos_ways_to_write_a_flag_and_a_flag_before_its_variable() {
    let variables = [("ETCD_NAME", "from-env"), ("ETCD_DATA_DIR", "/env")];
    let (below, _) = served(&["--name=a", "-max-txn-ops", "7", "--unsafe-no-fsync"], &variables, "").unwrap();
    assert_eq!(says(&below, "name"), "a");
    assert_eq!(says(&below, "data-dir"), "/env");
    assert_eq!(says(&below, "max-txn-ops"), "7");
    assert_eq!(says(&below, "unsafe-no-sync"), "true");
    assert_eq!(below["data-dir"].1, "ETCD_DATA_DIR");
    let (below, _) =
        served(&["--experimental-watch-progress-notify-interval", "1h10m0.5s"], &[], "").unwrap();
    assert_eq!(says(&below, "watch-progress-interval"), "4200500");
}

#[test]
fn tokens_and_the_cost_of_passwords_are_as_etcd_has_them() {
    let jwt = "jwt,pub-key=/k/a.pub,priv-key=/k/a,sign-method=RS256,ttl=10m";
    let arguments = ["--auth-token", jwt, "--auth-token-ttl=60", "--bcrypt-cost", "4"];
    let (below, notes) = served(&arguments, &[], "").unwrap();
    assert_eq!(notes, Vec::<String>::new());
    for (key, value) in [("auth-token", jwt), ("auth-token-ttl", "60"), ("bcrypt-cost", "4")] {
        assert_eq!(says(&below, key), value, "{key}");
    }
    assert_eq!(says(&served(&["--auth-token-ttl=0"], &[], "").unwrap().0, "auth-token-ttl"), "300");
    let file = "auth-token: 'jwt,priv-key=/k/a,sign-method=ES256'\nbcrypt-cost: 5\n";
    let (below, _) = served(&["--config-file", "etcd.yml"], &[], file).unwrap();
    assert_eq!(says(&below, "auth-token"), "jwt,priv-key=/k/a,sign-method=ES256");
    assert_eq!(says(&below, "bcrypt-cost"), "5");
    assert!(
        served(&["--auth-token-ttl", "5m"], &[], "").unwrap_err().to_string().contains("number of seconds")
    );
}

#[test]
fn a_file_goes_alone_and_has_tables_for_tls() {
    let file = "name: n1\nquota-backend-bytes: -1\nlisten-client-urls: https://10.0.0.1:2379,http://127.0.0.1:2379\n\
        advertise-client-urls: https://10.0.0.1:2379\nelection-timeout: 500\nnonsense: 3\n\
        client-transport-security:\n  cert-file: /c.pem\n  key-file: /k.pem\n  trusted-ca-file: /ca.pem\n  client-cert-auth: true\n\
        peer-transport-security:\n  cert-file: /pc.pem\n  key-file: /pk.pem\n  trusted-ca-file: /pca.pem\n  client-cert-auth: true\n  allowed-cn: m1\n\
        log-outputs: [stderr]\n";
    let (below, notes) =
        served(&["--config-file", "etcd.yml", "--name", "other"], &[("ETCD_NAME", "x")], file).unwrap();
    let wanted = [
        ("name", "n1"),
        ("data-dir", "n1.etcd"),
        ("quota-bytes", "0"),
        ("listen-client", "https://10.0.0.1:2379,http://127.0.0.1:2379"),
        ("client-tls-certificate", "/c.pem"),
        ("client-tls-client-ca", "/ca.pem"),
        ("peer-tls-certificate", "/pc.pem"),
        ("peer-tls-ca", "/pca.pem"),
        ("peer-tls-names", "m1"),
        ("election-timeout-max", "1000"),
    ];
    for (key, value) in wanted {
        assert_eq!(says(&below, key), value, "{key}");
    }
    assert!(notes.iter().any(|note| note.contains("nonsense")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("flags are ignored")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("log-outputs")), "{notes:?}");
    let json = r#"{"name": "j", "max-request-bytes": 2048}"#;
    assert_eq!(
        says(&served(&["--config-file=etcd.json"], &[], json).unwrap().0, "max-request-bytes"),
        "2048"
    );
}

#[test]
fn who_joins_asks_where_the_others_probably_serve() {
    let cluster = "a=http://10.0.0.1:2380,b=http://10.0.0.2:12380,c=http://10.0.0.3:2380";
    let arguments = ["--name", "c", "--initial-cluster", cluster, "--initial-cluster-state", "existing"];
    let (below, _) = served(&arguments, &[], "").unwrap();
    assert_eq!(says(&below, "join"), "10.0.0.1:2379,10.0.0.2:2379,10.0.0.2:12379");
}

#[test]
fn what_cannot_be_left_out_is_refused_and_what_can_is_said_once() {
    let refused = |arguments: &[&str]| served(arguments, &[], "").unwrap_err().to_string();
    let explicit = "--advertise-client-urls is required when --listen-client-urls is set explicitly";
    assert_eq!(refused(&["--listen-client-urls", "http://0.0.0.0:2379"]), explicit);
    assert!(refused(&["--peer-cert-file", "x.pem"]).contains("add peer-trusted-ca-file"));
    assert!(refused(&["--peer-client-cert-auth"]).contains("add peer-trusted-ca-file"));
    assert!(refused(&["--peer-auto-tls"]).contains("make one, and name it in peer-cert-file"));
    assert!(refused(&["--nothing"]).contains("flag provided but not defined: -nothing"));
    assert!(refused(&["--name"]).contains("flag needs an argument: -name"));
    assert!(refused(&["serve"]).contains("'serve' is not a valid flag"));
    assert!(refused(&["--election-timeout", "fast"]).contains("milliseconds"));
    assert!(refused(&["--client-cert-auth"]).contains("trusted-ca-file"));
    assert!(refused(&["--config-file", "missing.yml"]).contains("missing.yml"));
    let (_, notes) =
        served(&["--wal-dir", "/wal", "--snapshot-count", "5", "--auto-tls=false"], &[], "").unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("--wal-dir is ignored"), "{notes:?}");
}

#[test]
fn help_names_every_flag() {
    let help = help();
    assert!(FLAGS.iter().all(|flag| help.contains(&format!("--{}", flag.name))));
}
