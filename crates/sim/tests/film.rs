//! A film of a run: it changes nothing in the run, shows all of it, and what is done by hand to one frame is done to that one.

use quorate_sim::{
    Action, EngineKind, Planned, Who, at_ms,
    film::{Fate, Film, Happened, Scene, What, film_of_scene, film_of_seed},
    run_seed,
};

fn scene(engine: EngineKind) -> Scene {
    Scene { engine, ..Scene::default() }
}

fn film(scene: &Scene, actions: Vec<Planned>) -> Film {
    film_of_scene(scene, actions).unwrap()
}

fn put(ms: u64, who: Who, value: u64) -> Planned {
    at_ms(ms, Action::Request { who, call: 0, key: 0, value })
}

/// The epochs of a host's log of the keys at the end, by replaying the film.
fn log_of(film: &Film, host: usize) -> Vec<u64> {
    let (mut first, mut log) = (1, Vec::new());
    for happened in film.events.iter().filter(|happened| happened.host == Some(host)) {
        match &happened.what {
            What::Start { .. } => (first, log) = (1, Vec::new()),
            What::Log { group, base, from, entries } if group.0 == 2 => {
                while first <= base.0 && !log.is_empty() {
                    log.remove(0);
                    first += 1;
                }
                first = base.0 + 1;
                log.truncate((from.0 - first) as usize);
                log.extend(entries.iter().map(|label| (label.epoch, label.text.clone())));
            }
            _ => {}
        }
    }
    log.into_iter().map(|(epoch, _)| epoch).collect()
}

fn leaders(film: &Film) -> Vec<(u64, usize, u64)> {
    let leads = |happened: &Happened| match &happened.what {
        What::State { group, stand } if group.0 == 2 && stand.role == quorate_consensus::Role::Leader => {
            Some((happened.at, happened.host?, stand.epoch))
        }
        _ => None,
    };
    let mut leaders: Vec<(u64, usize, u64)> = film.events.iter().filter_map(leads).collect();
    leaders.dedup_by_key(|(_, host, epoch)| (*host, *epoch));
    leaders
}

#[test]
fn a_film_is_the_run_and_nothing_else() {
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        let (report, film) = (run_seed(engine, 5, false), film_of_seed(engine, 5, None));
        assert!(film.violations.is_empty() && !film.cut);
        assert!(film.events.len() > 1_000, "{}", film.events.len());
        // The film ends where the phases end, before the history is judged once more: all that happened is the same.
        assert_eq!(film.hash, report.trace_hash);
    }
}

#[test]
fn a_quiet_cluster_elects_serves_and_says_why() {
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        let film = film(&scene(engine), vec![put(2_000, Who::Host(2), 5)]);
        assert_eq!(film.violations, []);
        assert_eq!(leaders(&film).len(), 1, "{engine:?}");
        let log = log_of(&film, 0);
        assert!(!log.is_empty());
        assert!((1..5).all(|host| log_of(&film, host) == log), "{engine:?}");
        let told = |want: &str| {
            let says = |what: &What| matches!(what, What::Why { group, reason } if group.0 == 2 && reason.what == want);
            film.events.iter().any(|happened| says(&happened.what))
        };
        assert!(told("committed"), "{engine:?}");
        assert_eq!(told("leader_elected"), engine == EngineKind::Raft);
        assert_eq!(told("established"), engine == EngineKind::Zab);
        let answered = |what: &What| matches!(what, What::Answer { done: Some(true), .. });
        assert!(film.events.iter().any(|happened| answered(&happened.what)), "{engine:?}");
        assert_eq!(film.linearizable, Some(true));
    }
}

#[test]
fn the_same_scene_is_the_same_film_and_an_action_changes_nothing_before_it() {
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        let scene = Scene { clients: 2, ..scene(engine) };
        let plain = film(&scene, vec![put(1_000, Who::Leader, 900)]);
        let again = film(&scene, vec![put(1_000, Who::Leader, 900)]);
        assert_eq!(plain.events, again.events);
        let crash = at_ms(1_500, Action::Crash { who: Who::Leader, down_ms: 500 });
        let branch = film(&scene, vec![put(1_000, Who::Leader, 900), crash]);
        let before = |film: &Film| -> Vec<Happened> {
            film.events.iter().filter(|happened| happened.at < crash.at).cloned().collect()
        };
        assert_eq!(before(&plain), before(&branch));
        assert!(leaders(&branch).len() > leaders(&plain).len());
    }
}

#[test]
fn one_frame_can_be_lost_held_up_or_doubled_by_hand() {
    let scene = scene(EngineKind::Raft);
    let plain = film(&scene, Vec::new());
    let vote = plain.events.iter().find_map(|happened| match &happened.what {
        What::Send(sent) if sent.name == "RequestVote" && sent.group.0 == 2 => {
            Some((happened.at, sent.clone()))
        }
        _ => None,
    });
    let (at, vote) = vote.unwrap();
    let with = |action| {
        let film = film(&scene, vec![Planned { at, action }]);
        film.events.iter().find_map(|happened| match &happened.what {
            What::Send(sent) if sent.message == vote.message => Some(sent.clone()),
            _ => None,
        })
    };
    let lost = with(Action::Lose { frame: vote.frame }).unwrap();
    assert_eq!((lost.fate, lost.arrivals.len()), (Some(Fate::ByHand), 0));
    let held = with(Action::Hold { frame: vote.frame, ms: 40 }).unwrap();
    assert_eq!(held.arrivals, [vote.arrivals[0] + 40_000_000]);
    let twice = with(Action::Twice { frame: vote.frame, ms: 7 }).unwrap();
    assert_eq!(twice.arrivals, [vote.arrivals[0], vote.arrivals[0] + 7_000_000]);
}

#[test]
fn a_cut_in_one_direction_a_start_by_hand_and_what_stays_away() {
    let long = 3_600_000;
    let actions = vec![
        at_ms(1_000, Action::Cut { from: 0, to: 1 }),
        at_ms(1_200, Action::Mend { from: 0, to: 1 }),
        at_ms(1_500, Action::Kill { who: Who::Host(3), down_ms: long }),
        at_ms(2_000, Action::Start { who: Who::Host(3) }),
        at_ms(2_500, Action::Kill { who: Who::Host(4), down_ms: long }),
    ];
    let film = film(&scene(EngineKind::Raft), actions);
    let links: Vec<_> = film
        .events
        .iter()
        .filter_map(|happened| match &happened.what {
            What::Links { cut } => Some(cut.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(links, [vec![(0, 1)], vec![]]);
    let starts = |host| {
        let of =
            |happened: &&Happened| happened.host == Some(host) && matches!(happened.what, What::Start { .. });
        film.events.iter().filter(of).count()
    };
    assert_eq!((starts(3), starts(4)), (2, 1));
}

/// A network that splits by itself, as soon as a membership is joint: no action of that moment says so.
#[test]
fn links_that_no_action_cuts_are_shown_as_well() {
    let scene = Scene { nodes: 3, spares: 1, ..scene(EngineKind::Raft) };
    let actions =
        vec![at_ms(500, Action::Part { mask: 1, ms: 3_000 }), at_ms(600, Action::AddVoter { host: 3 })];
    let film = film(&scene, actions);
    let cut = |happened: &Happened| matches!(&happened.what, What::Links { cut } if cut.contains(&(0, 1)));
    assert!(film.events.iter().any(cut));
}

#[test]
fn a_snapshot_is_taken_when_it_is_asked_for_and_the_log_before_it_goes() {
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        let mut actions: Vec<Planned> = (0..30).map(|n| put(1_000 + n * 20, Who::Leader, 100 + n)).collect();
        actions.push(at_ms(2_000, Action::Snapshot { who: Who::Host(1) }));
        let film = film(&scene(engine), actions);
        let base = |host| {
            let of = |happened: &Happened| match &happened.what {
                What::Log { group, base, .. } if group.0 == 2 && happened.host == Some(host) => Some(base.0),
                _ => None,
            };
            film.events.iter().filter_map(of).max()
        };
        assert!(base(1) > Some(10), "{engine:?}: {:?}", base(1));
        assert_eq!(base(0), Some(0), "{engine:?}: the others keep theirs");
    }
}

#[test]
fn a_scene_beyond_its_limits_is_refused_with_what_it_may_be() {
    let refused = |scene: Scene| film_of_scene(&scene, Vec::new()).unwrap_err().to_string();
    assert_eq!(
        refused(Scene { nodes: 10, ..Scene::default() }),
        "the number of nodes is 10; it may be 1 to 9"
    );
    assert_eq!(
        refused(Scene { heartbeat_ms: 100, ..Scene::default() }),
        "the heartbeat in ms is 100; it may be 5 to 75"
    );
    assert_eq!(
        refused(Scene { until_ms: 0, ..Scene::default() }),
        "the end in ms is 0; it may be 1 to 120000"
    );
}
