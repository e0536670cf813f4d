//! Connections that have not said yet what they speak. There is room for so many, and who comes after that takes the place of the one that has been silent for longest:
//! a flood of them pushes itself out, and whoever speaks at once comes in.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Those that are silent, in the order in which they came.
#[derive(Clone, Debug)]
pub(crate) struct Silence {
    max: usize,
    silent: Arc<Mutex<Silent>>,
}

#[derive(Debug, Default)]
struct Silent {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The place of one that is silent, as long as it is.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    silent: Arc<Mutex<Silent>>,
    pushed_out: oneshot::Receiver<()>,
}

fn lock(silent: &Mutex<Silent>) -> MutexGuard<'_, Silent> {
    silent.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Silence {
    pub(crate) fn new(max: usize) -> Silence {
        Silence { max: max.max(1), silent: Arc::default() }
    }

    /// One more comes.
    pub(crate) fn enter(&self) -> Place {
        let (push_out, pushed_out) = oneshot::channel();
        let mut silent = lock(&self.silent);
        let number = silent.next;
        silent.next += 1;
        silent.waiting.insert(number, push_out);
        if silent.waiting.len() > self.max
            && let Some((_, oldest)) = silent.waiting.pop_first()
        {
            // It may just have gone.
            let _ = oldest.send(());
        }
        drop(silent);
        Place { number, silent: Arc::clone(&self.silent), pushed_out }
    }
}

impl Place {
    /// Ready once somebody else has taken the place.
    pub(crate) async fn lost(&mut self) {
        if (&mut self.pushed_out).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.silent).waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_been_silent_for_longest_makes_room() {
        let silence = Silence::new(2);
        let (mut first, second) = (silence.enter(), silence.enter());
        drop(second);
        let mut third = silence.enter();
        assert!(first.pushed_out.try_recv().is_err(), "there is room");
        let _fourth = silence.enter();
        assert!(first.pushed_out.try_recv().is_ok());
        assert!(third.pushed_out.try_recv().is_err());
        assert_eq!(lock(&silence.silent).waiting.len(), 2);
    }
}
