//! A running cluster, looked at through its own API as the user whose name the page was given. Nothing here changes a key or a znode; who looks at a znode has a session for that
//! moment, as every client of ZooKeeper's.

mod keys;
mod members;
mod znodes;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, header};
use quorate_client::{Client, rpc::AuthClient, wire::etcdserverpb::AuthenticateRequest};
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};

/// A token is asked for anew after this long: a simple token of etcd's lives for five minutes from its last use.
const TOKEN_LIVES: Duration = Duration::from_secs(120);
/// Users whose tokens are remembered.
const USERS_MAX: usize = 16;
/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why nothing can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) what: String,
    /// A user's name and password would help.
    pub(crate) needs_user: bool,
}

impl Refused {
    fn bad(what: impl Into<String>) -> Refused {
        Refused { status: StatusCode::BAD_REQUEST, what: what.into(), needs_user: false }
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Refused {
        let message = status.message().to_owned();
        let needs_user = matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
            || message.contains("user name is empty");
        let code = match status.code() {
            _ if needs_user => StatusCode::UNAUTHORIZED,
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        };
        Refused { status: code, what: format!("the cluster answers: {message}"), needs_user }
    }
}

/// Tokens by user and password, and when each was given. They print as their number: nobody's password belongs into a log.
#[derive(Default)]
struct Tokens(BTreeMap<(String, String), (String, Instant)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// The cluster that the Lab watches.
#[derive(Clone, Debug)]
pub struct Live {
    client: Client,
    tokens: Arc<Mutex<Tokens>>,
    /// Where the cluster serves ZooKeeper's clients; none if it does not.
    zookeeper: Arc<[String]>,
}

impl Live {
    /// Watches the cluster behind this client.
    #[must_use]
    pub fn new(client: Client) -> Live {
        Live { client, tokens: Arc::default(), zookeeper: Arc::default() }
    }

    /// The same cluster, with its tree: these addresses, `host:port`, serve ZooKeeper's clients.
    #[must_use]
    pub fn with_zookeeper(self, addresses: Vec<String>) -> Live {
        Live { zookeeper: addresses.into(), ..self }
    }

    /// Answers what the page asks below `/api/live`.
    pub(crate) async fn answer(
        &self,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Value, Refused> {
        // Another API, with users of its own.
        match path {
            "/znodes" => return znodes::znode(&self.zookeeper, &Query::read(query)).await,
            "/zookeeper" => return znodes::servers(&self.zookeeper).await,
            _ => {}
        }
        let asked = async {
            let user = User { live: self, token: self.token(headers).await? };
            let query = Query::read(query);
            let answer = match path {
                "" => members::members(&user).await,
                "/keys" => keys::list(&user, &query).await,
                "/key" => keys::value(&user, &query).await,
                "/history" => keys::history(&user, &query).await,
                "/leases" => keys::leases(&user).await,
                _ => Err(Refused {
                    status: StatusCode::NOT_FOUND,
                    what: "there is no such view of a cluster".to_owned(),
                    needs_user: false,
                }),
            };
            if answer.as_ref().is_err_and(|refused: &Refused| refused.needs_user) {
                // The token may be of before the cluster's users changed; the next request asks for another.
                self.tokens().0.clear();
            }
            answer
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            Err(Refused {
                status: StatusCode::GATEWAY_TIMEOUT,
                what: "the cluster does not answer; does a majority of its members run?".to_owned(),
                needs_user: false,
            })
        })
    }

    /// The token of the user who is named in the request, as browsers name one.
    async fn token(&self, headers: &HeaderMap) -> Result<Option<String>, Refused> {
        let Some(named) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let plain = named.to_str().ok().and_then(|named| named.strip_prefix("Basic "));
        let plain = plain
            .and_then(|plain| STANDARD.decode(plain).ok())
            .and_then(|plain| String::from_utf8(plain).ok());
        let (name, password) = plain
            .as_deref()
            .and_then(|plain| plain.split_once(':'))
            .ok_or_else(|| Refused::bad("a user is named as Basic, base64 of name:password"))?;
        let key = (name.to_owned(), password.to_owned());
        if let Some((token, given)) = self.tokens().0.get(&key)
            && given.elapsed() < TOKEN_LIVES
        {
            return Ok(Some(token.clone()));
        }
        let request = AuthenticateRequest { name: key.0.clone(), password: key.1.clone() };
        let channel = self.channel()?;
        let answer = AuthClient::new(channel).authenticate(request).await.map_err(|status| Refused {
            status: StatusCode::UNAUTHORIZED,
            what: format!("the cluster does not take this user: {}", status.message()),
            needs_user: true,
        })?;
        let token = answer.into_inner().token;
        let mut tokens = self.tokens();
        if tokens.0.len() >= USERS_MAX {
            tokens.0.clear();
        }
        tokens.0.insert(key, (token.clone(), Instant::now()));
        Ok(Some(token))
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        // Whoever died while it had the table left it whole: it only looks up and inserts.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self) -> Result<Channel, Refused> {
        self.client.channel(0).ok_or_else(|| Refused::bad("the Lab was given no endpoint"))
    }
}

/// Who asks.
struct User<'a> {
    live: &'a Live,
    token: Option<String>,
}

impl User<'_> {
    /// A request in this user's name.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(PATIENCE);
        if let Some(token) = self.token.as_ref().and_then(|token| MetadataValue::try_from(token).ok()) {
            request.metadata_mut().insert("token", token);
        }
        request
    }

    /// Connections to all endpoints, the first that answers is enough.
    fn channels(&self) -> impl Iterator<Item = Channel> + '_ {
        (0..self.live.client.endpoints().count()).filter_map(|number| self.live.client.channel(number))
    }

    /// Asks one endpoint after the other until one answers; an answer that refuses is one.
    async fn ask<T, F>(&self, call: impl Fn(Channel) -> F) -> Result<T, Refused>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut last = None;
        for channel in self.channels() {
            match call(channel).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => {
                    last = Some(status);
                }
                Err(status) => return Err(status.into()),
            }
        }
        Err(last.map_or_else(|| Refused::bad("the Lab was given no endpoint"), Refused::from))
    }
}

/// What stands behind the question mark.
struct Query(BTreeMap<String, String>);

impl Query {
    fn read(query: &str) -> Query {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Query(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Bytes in base64, as URLs write it.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, Refused> {
        let text = self.0.get(name).map(String::as_str).unwrap_or_default();
        let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        decoded.map_err(|_| Refused::bad(format!("{name} has to be base64, as URLs write it")))
    }

    fn number(&self, name: &str, default: i64) -> Result<i64, Refused> {
        self.0.get(name).map_or(Ok(default), |text| {
            text.parse()
                .map_err(|_| Refused::bad(format!("{name} has to be a whole number, and is {text:?}")))
        })
    }
}
