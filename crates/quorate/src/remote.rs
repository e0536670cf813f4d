//! Talking to a cluster, and saying what went wrong so that a person can go on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use quorate_client::{Client, Error, Executed, Options, Tls, tonic::Status, wire::Code};

use crate::{commands::Failed, config::host_and_port};

/// The PEM files for servers that speak TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Who signs the servers' certificates; empty: in the clear.
    pub(crate) authorities: Vec<PathBuf>,
    /// A certificate to show, and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    fn read(&self) -> Result<Option<Arc<Tls>>, Failed> {
        let pem = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                let path = path.display();
                Failed::usage(format!(
                    "{path} cannot be read: {error}; name a PEM file that this user may read"
                ))
            })
        };
        if self.authorities.is_empty() {
            return match &self.identity {
                None => Ok(None),
                Some(_) => Err(Failed::usage(
                    "--cert is given without --cacert, the file with the authority that signs the server's certificate; name it too",
                )),
            };
        }
        let identity =
            self.identity.as_ref().map(|(certificate, key)| Ok::<_, Failed>((pem(certificate)?, pem(key)?)));
        let authorities = self.authorities.iter().map(pem).collect::<Result<Vec<_>, Failed>>()?;
        Ok(Some(Arc::new(Tls { authorities: authorities.join(&b'\n'), identity: identity.transpose()? })))
    }
}

/// A client of these endpoints: `HOST:PORT`, with or without `http://` or `https://`. What has no scheme is secure if an authority is named.
pub(crate) fn connect(endpoints: &[String], timeout: Duration, trust: &Trust) -> Result<Client, Failed> {
    let tls = trust.read()?;
    let mut urls = Vec::new();
    for endpoint in endpoints {
        let address = host_and_port(endpoint).map_err(|(wrong, mend)| {
            Failed::usage(format!("endpoint {endpoint:?} cannot be used: {wrong}; {mend}"))
        })?;
        let secure = endpoint.starts_with("https://") || tls.is_some() && !endpoint.contains("://");
        if secure && tls.is_none() {
            return Err(Failed::usage(format!(
                "endpoint {endpoint:?} speaks TLS; name the authority that signs its certificate: --cacert FILE"
            )));
        }
        urls.push(format!("{}://{address}", if secure { "https" } else { "http" }));
    }
    let options = Options {
        call_timeout: timeout,
        try_timeout: timeout.min(Options::default().try_timeout),
        connect_timeout: timeout.min(Options::default().connect_timeout),
        tls,
        ..Options::default()
    };
    Client::connect(urls, options).map_err(Failed::from)
}

/// An endpoint as people write it.
pub(crate) fn short(endpoint: &str) -> &str {
    endpoint.trim_start_matches("http://")
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Endpoint { .. } | Error::NoEndpoints => 2,
            Error::Unreachable { .. } | Error::Deadline { .. } => 3,
            _ => 1,
        };
        Failed { code, message: explain(&error) }
    }
}

/// Why an endpoint does not answer, in a word or two.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::Unreachable { status, .. } => innermost(status),
        Error::Deadline { after, .. } => format!("no answer within {after:?}"),
        Error::Refused { error, .. } => error.message().to_string(),
        _ => error.to_string(),
    }
}

/// The innermost cause says most: "Connection refused" and not "transport error".
pub(crate) fn innermost(status: &Status) -> String {
    let mut text = status.message().to_string();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// What happened, why, and what to do next.
pub(crate) fn explain(error: &Error) -> String {
    let next = match error {
        Error::Refused { error, .. } => advice(error.code(), error.message()),
        Error::Unreachable { executed: Executed::No, .. } => {
            "start a cluster with `quorate dev`, or say where one is: --endpoints HOST:PORT,… or QUORATE_ENDPOINTS"
        }
        Error::Unreachable { .. } | Error::Deadline { .. } => "see how the members are: quorate status",
        _ => return error.to_string(),
    };
    format!("{error}\n  {next}")
}

/// What to do about an error of the API.
fn advice(code: Code, message: &str) -> &'static str {
    let rules = [
        (
            "required revision has been compacted",
            "that revision is gone: read without --rev, or at a newer one",
        ),
        ("future revision", "the cluster has not come so far: read without --rev, or at an older one"),
        (
            "no leader",
            "a majority of the members must be up: look with `quorate status`, try again after the election",
        ),
        ("leader changed", "look with `quorate status`, and try again"),
        ("not leader", "name the leader's endpoint too: `quorate status` shows it"),
        ("member not found", "`quorate member list` shows the members and their ids"),
        (
            "unhealthy cluster",
            "every member must be up before members are changed: look with `quorate status`",
        ),
        ("database space exceeded", "delete what is not needed, or raise quota-bytes"),
    ];
    if let Some((_, next)) = rules.iter().find(|(part, _)| message.contains(part)) {
        return next;
    }
    match code {
        Code::ResourceExhausted => "a limit is reached: delete what is not needed, or send less",
        Code::Unimplemented => "this server does not have the call; `quorate status` shows its version",
        Code::Unavailable => "look with `quorate status`, and try again",
        Code::InvalidArgument => "nothing was done: mend the request",
        Code::FailedPrecondition => "nothing was done: the cluster must be in another state for it",
        _ => "nothing was done",
    }
}
