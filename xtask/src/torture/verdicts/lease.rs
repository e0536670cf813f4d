//! Leases: what hangs on one that is kept alive stays; on one that is not, it goes.

/// The server's word that the lease lives: of a grant or of a keep-alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// It counts from here at the earliest.
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) lasts: u64,
}

/// A linearizable look for the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) there: bool,
}

/// One lease, from its grant to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) key: String,
    /// Its key was there from then on, acknowledged.
    pub(crate) attached: u64,
    pub(crate) promises: Vec<Promise>,
    pub(crate) looks: Vec<Look>,
    /// Nobody kept it alive any more, and long enough later, in calm, its key was gone. None: that was not waited for.
    pub(crate) gone_in_the_end: Option<bool>,
}

/// No key goes while a promise holds, none comes back, and each goes in the end.
pub(crate) fn check(lives: &[Life]) -> Result<(), String> {
    for life in lives {
        for look in life.looks.iter().filter(|look| look.begun > life.attached && !look.there) {
            let holds = |promise: &&Promise| {
                // Told before, and lasting beyond; or told of a lease that was gone.
                (promise.answered < look.begun && look.ended < promise.asked + promise.lasts)
                    || promise.asked > look.ended
            };
            if let Some(promise) = life.promises.iter().find(holds) {
                return Err(format!("{} was gone at {look:?}, against {promise:?}", life.key));
            }
        }
        let first_gone = life.looks.iter().filter(|look| look.begun > life.attached && !look.there);
        let first_gone = first_gone.map(|look| look.ended).min().unwrap_or(u64::MAX);
        if let Some(back) = life.looks.iter().find(|look| look.there && look.begun > first_gone) {
            return Err(format!("{} was there again at {back:?}", life.key));
        }
        if life.gone_in_the_end == Some(false) {
            return Err(format!("{} is still there, long after anybody kept its lease alive", life.key));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Life {
        let promise = |asked| Promise { asked, answered: asked + 2, lasts: 100 };
        let look = |begun, there| Look { begun, ended: begun + 1, there };
        Life {
            key: "k".into(),
            attached: 5,
            promises: vec![promise(0), promise(50)],
            looks: vec![look(1, false), look(60, true), look(120, true), look(170, false)],
            gone_in_the_end: Some(true),
        }
    }

    fn spoilt(spoil: impl FnOnce(&mut Life)) {
        let mut life = sound();
        spoil(&mut life);
        assert!(check(std::slice::from_ref(&life)).is_err(), "{life:?}");
    }

    #[test]
    fn a_sound_life_passes() {
        assert_eq!(check(&[sound()]), Ok(()));
    }

    #[test]
    fn early_and_late_ends_are_found() {
        spoilt(|life| life.looks[1].there = false);
        spoilt(|life| life.looks[2].there = false);
        spoilt(|life| life.gone_in_the_end = Some(false));
    }

    #[test]
    fn what_comes_back_is_found() {
        spoilt(|life| life.looks.push(Look { begun: 180, ended: 181, there: true }));
        spoilt(|life| life.promises.push(Promise { asked: 175, answered: 176, lasts: 100 }));
    }
}
