//! The one gate that every call passes: what its client shows, who that is, and whether it may.
//!
//! ```text
//!   metadata ─ admit ─► Shown ─ caller ─► Caller ┬─ ask: a view, and the verdict on it       reads
//!                                                └─ sealed: the command in its name          writes, judged again in the log
//! ```
//!
//! Handlers say what they ask; what that needs is decided by the keyspace's verdict. While auth is off, none of it costs more than a look at one
//! flag.

use std::{sync::Arc, time::SystemTime};

use quorate_consensus::planted;
use quorate_service::{
    auth_error,
    keyspace::{As, Ask, Auth, AuthError, Caller, Command, TokenDigest, View},
};
use tonic::{Request, Status, metadata::MetadataMap};

use crate::{
    Backend,
    door::CommonName,
    front::{OnLearner, Serving, status},
    jwt::{Jwt, Signed},
    tokens,
};

/// What a client shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Option<Arc<Proof>>);

enum Proof {
    Token {
        digest: TokenDigest,
        index: u64,
    },
    /// A token that says itself whose it is.
    Signed(Signed),
    /// Shown, and cannot be a token.
    Nonsense,
    Name(String),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Proof::Token { .. } => "Token(…)",
            Proof::Signed(_) => "Signed(…)",
            Proof::Nonsense => "Nonsense",
            Proof::Name(name) => name,
        })
    }
}

/// How often a verdict is sought when users change meanwhile.
const TRIES: usize = 3;

impl<B: Backend> Serving<B> {
    /// What is looked at before every call, and what its client shows. Of a call that may outlive auth's being off, see
    /// [`Serving::admit_long`].
    pub(crate) fn admit<T>(&self, request: &Request<T>, on_learner: OnLearner) -> Result<Shown, Status> {
        self.check_metadata(request.metadata(), on_learner)?;
        Ok(if self.known().is_on() { self.shown(request) } else { Shown::default() })
    }

    /// The same for a call that goes on for long: auth may be turned on in the middle of it.
    pub(crate) fn admit_long<T>(&self, request: &Request<T>) -> Result<Shown, Status> {
        self.check_metadata(request.metadata(), OnLearner::Refused)?;
        Ok(self.shown(request))
    }

    fn shown<T>(&self, request: &Request<T>) -> Shown {
        shown(request, self.jwt())
    }

    /// Who that is, as far as this member knows now.
    fn caller(&self, shown: &Shown) -> Caller {
        // Before the token is looked up: a user that is deleted and added anew in between has another revision than this one.
        let auth_revision = self.known().auth().revision();
        let user = match shown.0.as_deref() {
            None => return Caller::Nobody,
            Some(Proof::Nonsense) => None,
            Some(Proof::Token { digest, index }) => self.known().user_of(*digest, *index),
            Some(Proof::Signed(signed)) if signed.is_good(SystemTime::now()) => {
                return Caller::User { name: signed.username.clone(), auth_revision: Some(signed.revision) };
            }
            Some(Proof::Signed(_)) => None,
            Some(Proof::Name(name)) => Some(name.clone()),
        };
        user.map_or(Caller::Unknown, |name| Caller::User { name, auth_revision: Some(auth_revision) })
    }

    /// The same, for a verdict on the very state that this member knows. Only a signed token is of the revision that it says.
    pub(crate) fn caller_now(&self, shown: &Shown) -> Caller {
        let is_signed = matches!(shown.0.as_deref(), Some(Proof::Signed(_)));
        match self.caller(shown) {
            Caller::User { name, .. } if !is_signed => Caller::User { name, auth_revision: None },
            other => other,
        }
    }

    /// Who that is. A token that another member has given away may not have come here yet, nor the users as they were when it was signed: then all that is
    /// committed is waited for.
    async fn recognize(&self, shown: &Shown) -> Caller {
        let caller = self.caller(shown);
        let is_ahead = match shown.0.as_deref() {
            Some(Proof::Token { .. }) => caller == Caller::Unknown,
            Some(Proof::Signed(signed)) => signed.revision > self.known().auth().revision(),
            Some(Proof::Nonsense | Proof::Name(_)) | None => false,
        };
        if is_ahead && self.keys(false).await.is_ok() {
            return self.caller(shown);
        }
        caller
    }

    /// A view of the keys, if the caller may do this there.
    pub(crate) async fn ask(&self, shown: &Shown, ask: Ask<'_>, serializable: bool) -> Result<View, Status> {
        let mut tries = 1;
        loop {
            let view = self.keys(serializable).await?;
            if !view.auth().is_enabled() {
                return Ok(view);
            }
            let caller = self.recognize(shown).await;
            match view.permits(&caller, ask) {
                Ok(()) => return Ok(view),
                // Users changed between the two.
                Err(AuthError::AuthOldRevision) if tries < TRIES => tries += 1,
                Err(error) => return Err(status(&auth_error(error))),
            }
        }
    }

    /// May the caller do this, which reads nothing of the keys?
    pub(crate) async fn permit(&self, shown: &Shown, ask: Ask<'_>, serializable: bool) -> Result<(), Status> {
        if !self.known().is_on() {
            return Ok(());
        }
        self.ask(shown, ask, serializable).await.map(drop)
    }

    /// The command, in the name of whoever gives it.
    pub(crate) async fn sealed(&self, shown: &Shown, command: Command) -> Result<Command, Status> {
        if !self.known().is_on() {
            return Ok(command);
        }
        match self.recognize(shown).await {
            Caller::User { name, auth_revision } => Ok(Command::As(As {
                caller: name,
                auth_revision: auth_revision.unwrap_or_default(),
                command: Box::new(command),
            })),
            caller @ (Caller::Nobody | Caller::Unknown) => {
                // It is needed only if auth has not been turned off meanwhile.
                let view = self.keys(false).await?;
                let verdict = view.permits(&caller, Ask::Command(&command));
                verdict.map(|()| command).map_err(|error| status(&auth_error(error)))
            }
        }
    }

    /// May the caller be told of these keys, as this member knows it? If so, the name that this was found by.
    pub(crate) fn may_watch(
        &self,
        shown: &Shown,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<Option<String>, String> {
        if !self.known().is_on() {
            return Ok(None);
        }
        let auth = self.known().auth();
        let caller = self.caller_now(shown);
        match refusal(&auth, &caller, key, range_end) {
            Some(reason) => Err(reason),
            None => Ok(if let Caller::User { name, .. } = caller { Some(name) } else { None }),
        }
    }

    /// Waits until a token that another member has given away has come here.
    pub(crate) async fn expect(&self, shown: &Shown) {
        if self.known().is_on() {
            self.recognize(shown).await;
        }
    }
}

/// Why a caller may not be told of these keys, as a watch says it.
pub(crate) fn refusal(auth: &Auth, caller: &Caller, key: &[u8], range_end: &[u8]) -> Option<String> {
    let error = auth.permits(caller, Ask::Watch { key, range_end }).err()?;
    Some(match auth_error(error) {
        quorate_wire::ApiError::Table(error) => error.status_text(),
        quorate_wire::ApiError::Other(error) => error.message().to_owned(),
    })
}

/// With a key to read signed tokens by, there are no others.
fn shown<T>(request: &Request<T>, jwt: Option<&Jwt>) -> Shown {
    let metadata = request.metadata();
    let value = metadata.get("token").or_else(|| metadata.get("authorization"));
    if let Some(value) = value {
        let text = value.to_str().unwrap_or_default();
        let text = text.strip_prefix("Bearer ").unwrap_or(text);
        let proof = match jwt {
            Some(jwt) => jwt.read(text).map(Proof::Signed),
            None => tokens::parse(text).map(|(digest, index)| Proof::Token { digest, index }),
        };
        return Shown(Some(Arc::new(proof.unwrap_or(Proof::Nonsense))));
    }
    let gateway = from_gateway(metadata) && !planted!("P08");
    let identity = request.extensions().get::<CommonName>().filter(|_| !gateway);
    Shown(identity.map(|identity| Arc::new(Proof::Name(identity.0.to_string()))))
}

/// Whoever speaks JSON to the gateway is not who the gateway's own certificate names (CVE-2018-16886).
fn from_gateway(metadata: &MetadataMap) -> bool {
    metadata.contains_key("grpcgateway-accept")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(metadata: &[(&'static str, &str)], identity: Option<&str>) -> String {
        let mut request = Request::new(());
        for (name, value) in metadata {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        if let Some(name) = identity {
            request.extensions_mut().insert(CommonName(name.into()));
        }
        match shown(&request, None).0.as_deref() {
            None => "nobody".to_owned(),
            Some(Proof::Signed(signed)) => format!("signed for {}", signed.username),
            Some(Proof::Token { index, .. }) => format!("token at {index}"),
            Some(Proof::Nonsense) => "nonsense".to_owned(),
            Some(Proof::Name(name)) => format!("is {name}"),
        }
    }

    /// P08 is the last of them.
    #[test]
    fn a_client_shows_a_token_or_a_certificate() {
        assert_eq!(proof(&[], None), "nobody");
        assert_eq!(proof(&[("token", "abcdefghijklmnop.7")], None), "token at 7");
        assert_eq!(proof(&[("authorization", "abcdefghijklmnop.7")], None), "token at 7");
        assert_eq!(proof(&[("authorization", "Bearer abcdefghijklmnop.7")], None), "token at 7");
        assert_eq!(proof(&[("token", "Bearer")], None), "nonsense");
        assert_eq!(proof(&[("token", "")], Some("u")), "nonsense", "not by the certificate then");
        assert_eq!(proof(&[], Some("u")), "is u");
        assert_eq!(proof(&[("token", "abcdefghijklmnop.7")], Some("u")), "token at 7");
        assert_eq!(proof(&[("grpcgateway-accept", "*/*")], Some("u")), "nobody");
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn p08_the_name_of_the_gateways_own_certificate_is_found_planted() {
        quorate_consensus::hunt_plant("P08", "E8", [()], |()| a_client_shows_a_token_or_a_certificate());
    }
}
