//! What is signed is read, and nothing else is.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::*;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn files(method: &str, private: &str, public: &str) -> JwtFiles {
    let given = |name: &str| Some(name).filter(|name| !name.is_empty()).map(path);
    JwtFiles {
        sign_method: method.parse().unwrap(),
        public_key: given(public),
        private_key: given(private),
        ttl: Duration::from_secs(600),
    }
}

fn load(method: &str, private: &str, public: &str) -> Result<Jwt, String> {
    Jwt::load(&files(method, private, public)).map_err(|error| error.to_string())
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Each with both keys, with the private one alone, and read by whoever has the public one alone.
#[test]
fn every_method_signs_what_it_reads() {
    let all = [
        ("RS256", "rsa.pem", "rsa.pub.pem"),
        ("RS384", "rsa.pkcs8.pem", "rsa.pub.pem"),
        ("RS512", "rsa.pem", "rsa.pub.pem"),
        ("PS256", "rsa.pem", "rsa.pub.pem"),
        ("PS384", "rsa.pkcs8.pem", "rsa.pub.pem"),
        ("PS512", "rsa.pem", "rsa.pub.pem"),
        ("ES256", "p256.pem", "p256.pub.pem"),
        ("ES384", "p384.pem", "p384.pub.pem"),
        ("EdDSA", "ed25519.pem", "ed25519.pub.pem"),
        ("HS256", "README", ""),
        ("HS384", "README", ""),
        ("HS512", "README", ""),
    ];
    for (method, private, public) in all {
        let [both, alone] = [public, ""].map(|public| load(method, private, public).expect(method));
        let token = both.sign("u", 7, at(1_000)).expect(method);
        let mut readers = vec![both, alone];
        if !public.is_empty() {
            let reader = load(method, "", public).expect(method);
            assert!(reader.sign("u", 7, at(1_000)).is_none(), "{method}: there is nothing to sign with");
            readers.push(reader);
        }
        for reader in readers {
            let signed = reader.read(&token).expect(method);
            assert_eq!((signed.username.as_str(), signed.revision), ("u", 7), "{method}");
            assert!(signed.is_good(at(1_599)) && !signed.is_good(at(1_600)), "{method}");
        }
    }
}

#[test]
fn a_token_says_what_etcds_says() {
    let token = load("ES256", "p256.pem", "").unwrap().sign("alice", 12, at(1_000)).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let part =
        |at: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap() };
    assert_eq!(part(0), json!({ "alg": "ES256", "typ": "JWT" }));
    assert_eq!(part(1), json!({ "username": "alice", "revision": 12, "exp": 1_600 }));
}

#[test]
fn a_token_of_another_key_or_method_or_none_is_not_read() {
    let reader = load("RS256", "", "rsa.pub.pem").unwrap();
    assert!(reader.read(&load("RS256", "rsa.pem", "").unwrap().sign("u", 1, at(1)).unwrap()).is_some());
    let others = [
        load("PS256", "rsa.pem", "").unwrap().sign("u", 1, at(1)).unwrap(),
        load("ES256", "p256.pem", "").unwrap().sign("u", 1, at(1)).unwrap(),
        // The public key is no secret: whoever took it for one would read this.
        load("HS256", "rsa.pub.pem", "").unwrap().sign("u", 1, at(1)).unwrap(),
        format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
            URL_SAFE_NO_PAD.encode(r#"{"username":"u","revision":1}"#)
        ),
        "kAjIqPVSNqzLxTuT.1043".to_owned(),
        String::new(),
    ];
    for token in others {
        assert!(reader.read(&token).is_none(), "{token}");
    }
    assert!(load("RS256", "", "other.pub.pem").unwrap().read("a.b.c").is_none());
}

#[test]
fn whoever_else_signs_may_leave_the_time_out_but_neither_name_nor_revision() {
    let jwt = load("HS256", "README", "").unwrap();
    let signed = |claims: Value| {
        let key = jwt.0.signs.as_ref().unwrap();
        jwt.read(&encode(&Header::new(jwt.0.method), &claims, key).unwrap())
    };
    let forever = signed(json!({ "username": "u", "revision": 3, "aud": "x", "iss": "y" })).unwrap();
    assert!(forever.is_good(at(0)) && forever.is_good(at(1 << 40)));
    let later = signed(json!({ "username": "u", "revision": 3, "nbf": 10, "exp": 20.5 })).unwrap();
    assert!(
        !later.is_good(at(9)) && later.is_good(at(10)) && later.is_good(at(20)) && !later.is_good(at(21))
    );
    for wrong in [
        json!({ "username": "u" }),
        json!({ "revision": 3 }),
        json!({ "username": 5, "revision": 3 }),
        json!({ "username": "u", "revision": -1 }),
        json!({ "username": "u", "revision": 3, "exp": "never" }),
    ] {
        assert_eq!(signed(wrong.clone()), None, "{wrong}");
    }
}

#[test]
fn keys_that_cannot_serve_are_refused_with_the_file_and_the_mend() {
    let refused = |method, private, public| load(method, private, public).expect_err("refused");
    for (method, private, public, said) in [
        ("RS256", "", "", "add priv-key"),
        ("HS256", "", "rsa.pub.pem", "add priv-key"),
        ("RS256", "none.pem", "", "none.pem: No such file"),
        ("RS256", "rsa.pem", "none.pem", "none.pem: No such file"),
        ("RS256", "README", "", "this is no private RSA key"),
        ("RS256", "rsa.pub.pem", "", "this is no private RSA key"),
        ("RS256", "short.pem", "", "at least 2048 bits"),
        ("RS256", "p256.pem", "", "this is no private RSA key"),
        ("ES256", "p384.pem", "", "this is no private key on the curve P-256"),
        ("ES384", "", "p256.pub.pem", "this is no public key on the curve P-384"),
        ("EdDSA", "rsa.pkcs8.pem", "", "this is no private key for Ed25519"),
        ("RS256", "rsa.pem", "p256.pub.pem", "this is no public RSA key"),
        ("RS256", "rsa.pem", "other.pub.pem", "not of one pair"),
    ] {
        let error = refused(method, private, public);
        assert!(error.contains(said), "{method} {private} {public}: {error}");
    }
    let unknown = "ES512".parse::<SignMethod>().unwrap_err().to_string();
    assert!(unknown.contains("ES512") && unknown.contains("ES384"), "{unknown}");
    assert!("none".parse::<SignMethod>().is_err());
}

#[cfg(feature = "planted-bugs")]
#[test]
fn p07_a_token_that_must_have_a_name_is_found_planted() {
    let check = |()| whoever_else_signs_may_leave_the_time_out_but_neither_name_nor_revision();
    quorate_consensus::hunt_plant("P07", "E8", [()], check);
}
