//! URLs of members: `http://host:port` or `https://host:port`, and nothing more, as etcd has them.

use std::fmt;

use quorate_consensus::DecodeError;

use crate::URL_BYTES_MAX;

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// More than [`URL_BYTES_MAX`] bytes.
    TooLong,
    /// It does not begin with `http://` or `https://`.
    Scheme,
    /// It has a user or a password.
    Credentials,
    /// Something follows the port: a path, were it only a slash, a query or a fragment.
    Path,
    /// Nothing stands before the port.
    NoHost,
    /// The host is neither a name, nor an IPv4 address, nor an IPv6 address in brackets.
    BadHost,
    /// No port follows the host.
    NoPort,
    /// The port is not a number from 1 to 65535, written without leading zeros.
    BadPort,
}

impl UrlError {
    pub(crate) fn tag(self) -> u8 {
        match self {
            UrlError::TooLong => 1,
            UrlError::Scheme => 2,
            UrlError::Credentials => 3,
            UrlError::Path => 4,
            UrlError::NoHost => 5,
            UrlError::BadHost => 6,
            UrlError::NoPort => 7,
            UrlError::BadPort => 8,
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Result<UrlError, DecodeError> {
        Ok(match tag {
            1 => UrlError::TooLong,
            2 => UrlError::Scheme,
            3 => UrlError::Credentials,
            4 => UrlError::Path,
            5 => UrlError::NoHost,
            6 => UrlError::BadHost,
            7 => UrlError::NoPort,
            8 => UrlError::BadPort,
            value => return Err(DecodeError::Unknown { what: "URL error", value: value.into() }),
        })
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlError::TooLong => "it is longer than 1024 bytes",
            UrlError::Scheme => "it must begin with http:// or https://",
            UrlError::Credentials => "it must not contain a user or a password",
            UrlError::Path => "it must end with the port, without a path, not even a slash",
            UrlError::NoHost => "the host is missing; write http://host:port",
            UrlError::BadHost => {
                "the host must be a name, an IPv4 address, or an IPv6 address in brackets as in http://[::1]:2380"
            }
            UrlError::NoPort => "the port is missing; write http://host:port",
            UrlError::BadPort => "the port must be a number from 1 to 65535",
        })
    }
}

impl std::error::Error for UrlError {}

/// Is this the URL of a member, `http://host:port` or `https://host:port`?
///
/// Our own few rules rather than a library's: replicas of different builds must agree on them.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<(), UrlError> {
    if url.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    let rest =
        url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or(UrlError::Scheme)?;
    if rest.contains('@') {
        return Err(UrlError::Credentials);
    }
    if rest.contains(['/', '?', '#']) {
        return Err(UrlError::Path);
    }
    let port = if let Some(rest) = rest.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::BadHost)?;
        check_ipv6(host)?;
        if after.is_empty() {
            return Err(UrlError::NoPort);
        }
        after.strip_prefix(':').ok_or(UrlError::BadHost)?
    } else {
        let (host, port) = rest.rsplit_once(':').ok_or(UrlError::NoPort)?;
        check_name(host)?;
        port
    };
    check_port(port)
}

fn check_name(host: &str) -> Result<(), UrlError> {
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.bytes().all(fits) { Ok(()) } else { Err(UrlError::BadHost) }
}

fn check_ipv6(host: &str) -> Result<(), UrlError> {
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (host, None),
    };
    let fits = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    if !address.contains(':') || !address.bytes().all(fits) {
        return Err(UrlError::BadHost);
    }
    match zone {
        Some(zone) => check_name(zone).map_err(|_| UrlError::BadHost),
        None => Ok(()),
    }
}

fn check_port(port: &str) -> Result<(), UrlError> {
    if port.is_empty() {
        return Err(UrlError::NoPort);
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    if digits && port.parse::<u16>().is_ok() { Ok(()) } else { Err(UrlError::BadPort) }
}

/// One list of URLs has one form: sorted, each once. The order in which an operator wrote them is no difference.
pub(crate) fn normal(mut urls: Vec<String>) -> Vec<String> {
    urls.sort_unstable();
    urls.dedup();
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_reached_at_scheme_host_and_port() {
        for url in [
            "http://a:1",
            "https://node-1.example.com:2380",
            "http://10.0.0.1:65535",
            "http://[::1]:2380",
            "https://[fe80::1%eth0]:2380",
            "http://[::ffff:10.0.0.1]:80",
            "http://etcd_1.svc:2380",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_refused_url_says_what_is_wrong_with_it() {
        let long = format!("http://{}:1", "a".repeat(URL_BYTES_MAX));
        for (url, error) in [
            (long.as_str(), UrlError::TooLong),
            ("", UrlError::Scheme),
            ("a:1", UrlError::Scheme),
            ("HTTP://a:1", UrlError::Scheme),
            ("unix://a:1", UrlError::Scheme),
            (" http://a:1", UrlError::Scheme),
            ("http://u:p@a:1", UrlError::Credentials),
            ("http://a:1/", UrlError::Path),
            ("http://a/x:1", UrlError::Path),
            ("http://a:1?x", UrlError::Path),
            ("http://a:1#x", UrlError::Path),
            ("http://:1", UrlError::NoHost),
            ("http://[]:1", UrlError::NoHost),
            ("http://a b:1", UrlError::BadHost),
            ("http://é:1", UrlError::BadHost),
            ("http://::1:1", UrlError::BadHost),
            ("http://[::1:1", UrlError::BadHost),
            ("http://[::1]x:1", UrlError::BadHost),
            ("http://[::1%]:1", UrlError::BadHost),
            ("http://[a]:1", UrlError::BadHost),
            ("http://", UrlError::NoPort),
            ("http://a", UrlError::NoPort),
            ("http://a:", UrlError::NoPort),
            ("http://[::1]", UrlError::NoPort),
            ("http://a:0", UrlError::BadPort),
            ("http://a:01", UrlError::BadPort),
            ("http://a:65536", UrlError::BadPort),
            ("http://a:+1", UrlError::BadPort),
            ("http://a:http", UrlError::BadPort),
        ] {
            assert_eq!(check_url(url), Err(error), "{url}");
        }
    }

    #[test]
    fn the_texts_name_the_limits_in_force() {
        assert!(UrlError::TooLong.to_string().contains(&URL_BYTES_MAX.to_string()));
    }
}
