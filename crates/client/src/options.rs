//! How a client connects and how long it waits.

use std::{fmt, sync::Arc, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::Error;

/// The HTTP/2 side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Bytes that a server may send on one stream before they are read.
    pub stream_window_bytes: u32,
    /// Bytes that a server may send on the connection before they are read.
    pub connection_window_bytes: u32,
    /// A PING after so long; `None`: never. Servers of etcd close connections that ping more often than every 5 s.
    pub keepalive_interval: Option<Duration>,
    /// The connection is dead if a PING is not answered for so long.
    pub keepalive_timeout: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            stream_window_bytes: 2 << 20,
            connection_window_bytes: 16 << 20,
            keepalive_interval: Some(Duration::from_secs(10)),
            keepalive_timeout: Duration::from_secs(5),
        }
    }
}

/// Whom a client trusts, and as whom it comes, where a URL begins with `https://`. All PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who signs the servers' certificates; one or more. A server's certificate must be good for the host of its URL, too.
    pub authorities: Vec<u8>,
    /// The client's certificate, with those between it and its authority, and its key; `None`: it comes without a name.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}

/// How a client connects and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest time for a call, all tries together.
    pub call_timeout: Duration,
    /// Longest time for one try, where another may follow. A member that is cut off from the others holds a request for seconds.
    pub try_timeout: Duration,
    /// Longest time for a connection to come about.
    pub connect_timeout: Duration,
    /// Pause before an endpoint is tried a second time.
    pub retry_pause: Duration,
    /// Most bytes of an answer.
    pub answer_bytes_max: usize,
    /// The HTTP/2 side.
    pub http2: Http2,
    /// For `https://`; without it such a URL is refused.
    pub tls: Option<Arc<Tls>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(10),
            try_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(2),
            retry_pause: Duration::from_millis(50),
            answer_bytes_max: quorate_wire::GRPC_SEND_BYTES_MAX,
            http2: Http2::default(),
            tls: None,
        }
    }
}

/// The endpoint behind a URL, tuned, not yet connected. Without a scheme, `http://` is meant.
///
/// # Errors
/// [`Error::Endpoint`]: not a URL that can be connected to.
pub fn endpoint(url: &str, options: &Options) -> Result<Endpoint, Error> {
    let bad = |why: String| Error::Endpoint { endpoint: url.to_owned(), why };
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let secure = full.starts_with("https://");
    let mut endpoint = Endpoint::from_shared(full).map_err(|error| bad(error.to_string()))?;
    if secure {
        let Some(tls) = &options.tls else {
            return Err(bad("it is not said who signs the server's certificate".to_owned()));
        };
        let mut config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&tls.authorities))
            .timeout(options.connect_timeout);
        if let Some((certificate, key)) = &tls.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        endpoint = endpoint.tls_config(config).map_err(|error| {
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            bad(format!("the certificates or the key cannot be used: {why}"))
        })?;
    }
    let http2 = &options.http2;
    let endpoint = endpoint
        .tcp_nodelay(true)
        .connect_timeout(options.connect_timeout)
        .initial_stream_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes)
        .keep_alive_timeout(http2.keepalive_timeout)
        .buffer_size(4096);
    Ok(match http2.keepalive_interval {
        Some(interval) => endpoint.http2_keep_alive_interval(interval).keep_alive_while_idle(false),
        None => endpoint,
    })
}
