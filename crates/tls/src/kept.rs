//! What was made of files, and is made anew when they change.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::files::{Stamps, TlsError};

/// The last that could be made of the files.
pub(crate) struct Kept<T> {
    look_every: Duration,
    state: Mutex<State<T>>,
}

struct State<T> {
    made: T,
    stamps: Stamps,
    looked: Instant,
}

impl<T: Clone> Kept<T> {
    /// `stamps` were taken before `made` was.
    pub(crate) fn new(made: T, stamps: Stamps, look_every: Duration) -> Kept<T> {
        Kept { look_every, state: Mutex::new(State { made, stamps, looked: Instant::now() }) }
    }

    /// Looks at the files, if it has not for a while.
    pub(crate) fn get(
        &self,
        stamps: impl FnOnce() -> Stamps,
        make: impl FnOnce() -> Result<T, TlsError>,
    ) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= self.look_every {
            state.looked = Instant::now();
            let stamps = stamps();
            if stamps != state.stamps {
                match make() {
                    Ok(made) => {
                        tracing::info!("the TLS certificates were read again");
                        state.made = made;
                    }
                    Err(error) => tracing::error!(
                        "the TLS files changed and cannot be used, those read before stay in force: {error}"
                    ),
                }
                state.stamps = stamps;
            }
        }
        state.made.clone()
    }
}
