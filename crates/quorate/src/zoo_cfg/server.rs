//! A server's line: `host:port:port[:role][;[host:]port]`, more addresses after `|`.

/// Every address of this machine.
pub(super) const EVERYWHERE: &str = "0.0.0.0";

/// One server of an ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// `host:port` where the other servers reach it.
    pub(super) peer: String,
    /// Has it no vote?
    pub(super) observer: bool,
    /// `host:port` where it serves clients, if its line says so.
    pub(super) client: Option<String>,
}

impl Server {
    /// Of several addresses it has the first: the rest are for networks that fail one by one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(line: &str) -> Result<Server, String> {
        let (servers, client) = match line.split_once(';') {
            Some((servers, client)) => (servers, Some(client_address(client.trim())?)),
            None => (line, None),
        };
        // A role may stand after the last of the addresses.
        let first = servers.split('|').next().unwrap_or_default().trim();
        let (host, rest) = host(first).ok_or("the host is missing")?;
        let mut parts = rest.split(':');
        let port = parts.next().and_then(port).ok_or("the first port is none")?;
        let role = servers.rsplit(':').next().unwrap_or_default().trim();
        let observer = match role {
            "observer" => true,
            "participant" => false,
            number if number.parse::<u16>().is_ok() => false,
            _ => return Err(format!("{role:?} is no role; roles are participant and observer")),
        };
        Ok(Server { peer: format!("{host}:{port}"), observer, client })
    }

    /// The same port on every address of this machine.
    pub(super) fn peer_everywhere(&self) -> String {
        let port = self.peer.rsplit(':').next().unwrap_or_default();
        with_port(EVERYWHERE, port)
    }
}

/// `host:port` of a host that may be an IPv6 address without brackets.
pub(super) fn with_port(host: &str, port: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The host, and what follows its colon. An IPv6 address stands in brackets.
fn host(text: &str) -> Option<(&str, &str)> {
    let (host, rest) = match text.find(']') {
        Some(end) if text.starts_with('[') => (&text[..=end], text[end + 1..].strip_prefix(':')?),
        Some(_) => return None,
        None => text.split_once(':')?,
    };
    (!host.is_empty()).then_some((host, rest))
}

fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

fn client_address(text: &str) -> Result<String, String> {
    let (host, number) = host(text).unwrap_or((EVERYWHERE, text));
    let number = port(number).ok_or_else(|| format!("{text:?} after the ; is no port"))?;
    Ok(with_port(host, &number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_host_and_ports_then_perhaps_a_role_then_perhaps_where_clients_are_served() {
        let server = |peer: &str, observer, client: Option<&str>| Server {
            peer: peer.to_owned(),
            observer,
            client: client.map(str::to_owned),
        };
        for (line, wanted) in [
            ("zk1:2888:3888", server("zk1:2888", false, None)),
            ("zk1:2888:3888:participant", server("zk1:2888", false, None)),
            ("zk1:2888:3888:observer", server("zk1:2888", true, None)),
            ("zk1:2888:3888;2181", server("zk1:2888", false, Some("0.0.0.0:2181"))),
            ("zk1:2888:3888:observer;10.0.0.1:2181", server("zk1:2888", true, Some("10.0.0.1:2181"))),
            ("[::1]:2888:3888;[::]:2181", server("[::1]:2888", false, Some("[::]:2181"))),
            ("a:1:2|b:3:4:observer;5", server("a:1", true, Some("0.0.0.0:5"))),
            ("zk1:2888", server("zk1:2888", false, None)),
        ] {
            assert_eq!(Server::parse(line), Ok(wanted), "{line}");
        }
        for (line, wrong) in [
            ("", "host"),
            (":2888:3888", "host"),
            ("zk1:port:3888", "port"),
            ("zk1:0:3888", "port"),
            ("zk1:2888:3888:leader", "\"leader\" is no role"),
            ("zk1:2888:3888;", "after the ;"),
            ("zk1:2888:3888;h:99999", "after the ;"),
        ] {
            let error = Server::parse(line).expect_err(line);
            assert!(error.contains(wrong), "{line}: {error}");
        }
    }
}
