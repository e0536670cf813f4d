//! What tokens of etcd's users are: `simple`, or `jwt` with its options, as etcd's `--auth-token` has them.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use quorate_etcd::{JWT_TTL, JwtFiles, SignMethod};

use super::{ConfigError, sources::Sources, values::go_milliseconds};

const OPTIONS: [&str; 4] = ["sign-method", "priv-key", "pub-key", "ttl"];

impl Sources {
    /// How tokens are signed; none: they are simple ones. That the keys are there and good is seen when they are read.
    pub(super) fn jwt(&self, key: &'static str) -> Result<Option<JwtFiles>, ConfigError> {
        let refuse = |wrong: &str, mend: &str| Err(self.refuse(key, wrong, mend));
        let mut parts = self.text(key).split(',').map(str::trim);
        let example = "write simple, or jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m";
        let is_jwt = match parts.next() {
            Some("simple") => false,
            Some("jwt") => true,
            _ => return refuse("there are no such tokens", example),
        };
        let mut given = BTreeMap::new();
        for part in parts {
            let Some((name, value)) = part.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                return refuse(&format!("{part:?} is no option with a value"), example);
            };
            if !is_jwt || !OPTIONS.contains(&name) {
                return refuse(&format!("{name} is no option here"), example);
            }
            if given.insert(name, value).is_some() {
                return refuse(&format!("{name} stands twice"), "leave one of them out");
            }
        }
        if !is_jwt {
            return Ok(None);
        }
        let Some(method) = given.get("sign-method") else {
            return refuse("how tokens are signed is not said", "add sign-method=RS256 or another");
        };
        let sign_method: SignMethod = match method.parse() {
            Ok(method) => method,
            Err(error) => return refuse("tokens cannot be signed so", &format!("{error}")),
        };
        let ttl = match given.get("ttl") {
            None => JWT_TTL,
            Some(text) => {
                match go_milliseconds(text).filter(|ms| *ms >= 1_000 && text.parse::<u64>().is_err()) {
                    Some(ms) => Duration::from_millis(ms),
                    None => return refuse("ttl is no time of a second or more", "write ttl=5m or the like"),
                }
            }
        };
        let path = |name: &str| given.get(name).map(PathBuf::from);
        Ok(Some(JwtFiles { sign_method, public_key: path("pub-key"), private_key: path("priv-key"), ttl }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::Origin;
    use super::*;

    fn read(text: &str) -> Result<Option<JwtFiles>, String> {
        let sources = Sources([("auth-token", (text.to_owned(), Origin::Flag))].into());
        sources.jwt("auth-token").map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_are_simple_or_signed_as_etcd_writes_it() {
        assert_eq!(read("simple"), Ok(None));
        let jwt = read("jwt,pub-key=/k/app.rsa.pub,priv-key=/k/app.rsa,sign-method=RS512,ttl=1h10m")
            .unwrap()
            .unwrap();
        assert_eq!(jwt.public_key.as_deref(), Some("/k/app.rsa.pub".as_ref()));
        assert_eq!(jwt.private_key.as_deref(), Some("/k/app.rsa".as_ref()));
        assert_eq!((jwt.sign_method, jwt.ttl), ("RS512".parse().unwrap(), Duration::from_secs(4_200)));
        let least = read("jwt,sign-method=HS256,priv-key=secret").unwrap().unwrap();
        assert_eq!((least.public_key, least.ttl), (None, Duration::from_secs(300)));
    }

    #[test]
    fn what_tokens_are_is_told_whole_and_without_slips() {
        for (text, said) in [
            ("", "there are no such tokens"),
            ("jwtt", "there are no such tokens"),
            ("simple,ttl=5m", "ttl is no option here"),
            ("jwt", "how tokens are signed is not said"),
            ("jwt,sign-method=ES512", "ES512"),
            ("jwt,sign-method=none", "take RS256"),
            ("jwt,sign-method", "no option with a value"),
            ("jwt,sign-method=", "no option with a value"),
            ("jwt,sign-method=RS256,tll=5m", "tll is no option here"),
            ("jwt,sign-method=RS256,ttl=300", "write ttl=5m"),
            ("jwt,sign-method=RS256,ttl=0s", "write ttl=5m"),
            ("jwt,sign-method=RS256,ttl=-5m", "write ttl=5m"),
            ("jwt,sign-method=RS256,sign-method=RS256", "stands twice"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
