//! Passwords: hashed and compared on threads of their own, a few at a time, and never written anywhere.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_service::keyspace::PasswordHash;
use tokio::sync::Semaphore;
use tonic::Status;

/// The cost of a hash, if nobody says otherwise: etcd's `--bcrypt-cost`. Each step doubles the time; ten take some fifty milliseconds.
pub(crate) const COST: u32 = 10;

/// Hashes under way at a time: others wait, so that nobody takes all of the machine with wrong passwords.
const AT_A_TIME: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(AT_A_TIME);

/// The hash of a password.
///
/// # Errors
/// More than 72 bytes: bcrypt would not look at the rest.
pub(crate) async fn hash(password: String, cost: u32) -> Result<PasswordHash, Status> {
    let hashed = on_a_thread(move || bcrypt::non_truncating_hash(password.as_bytes(), cost)).await?;
    match hashed {
        Ok(hash) => PasswordHash::new(hash)
            .ok_or_else(|| Status::internal("quorate: the hash of a password is none; please report this")),
        Err(_) => Err(Status::invalid_argument(
            "quorate: the password is longer than 72 bytes; choose a shorter one",
        )),
    }
}

/// The hash that a client has made itself: as bcrypt writes it, in base64.
///
/// # Errors
/// It is none.
pub(crate) fn given(hashed: &str) -> Result<PasswordHash, Status> {
    let text = STANDARD.decode(hashed).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let hash = text.and_then(PasswordHash::new);
    hash.ok_or_else(|| {
        Status::invalid_argument(
            "quorate: hashedPassword is no hash of bcrypt in base64; send the password, or such a hash",
        )
    })
}

/// Is it the password? Without a hash, because there is no such user or it has none, the answer is no, and takes as long.
pub(crate) async fn is(password: String, hash: Option<PasswordHash>, cost: u32) -> Result<bool, Status> {
    on_a_thread(move || {
        // The salt and the hash of nobody's password.
        let nobodys = format!("$2b${cost:02}${}", ".".repeat(53));
        let against = hash.as_ref().map_or(nobodys.as_str(), PasswordHash::as_str);
        let same = bcrypt::non_truncating_verify(password.as_bytes(), against).unwrap_or(false);
        same && hash.is_some()
    })
    .await
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    let did_not = |_| Status::internal("quorate: hashing a password did not finish; please report this");
    let _turn = TURNS.acquire().await.map_err(|_| Status::internal("quorate: hashing has ended"))?;
    tokio::task::spawn_blocking(work).await.map_err(did_not)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_no_other_is() {
        let hash = hash("hunter2".into(), 4).await.unwrap();
        assert!(is("hunter2".into(), Some(hash.clone()), 4).await.unwrap());
        for other in ["", "hunter", "hunter22"] {
            assert!(!is(other.into(), Some(hash.clone()), 4).await.unwrap());
            assert!(!is(other.into(), None, 4).await.unwrap());
        }
        assert!(super::hash("x".repeat(73), 4).await.is_err());
        assert!(!is("x".repeat(73), Some(hash.clone()), 4).await.unwrap());
        assert_eq!(given(&STANDARD.encode(hash.as_str())).unwrap(), hash);
        assert!(given(hash.as_str()).is_err() && given("").is_err() && given("aHVudGVyMg==").is_err());
    }
}
