//! Single rules, and single mistakes, each by the smallest story that shows it: a module for each phase of the protocol.

#[path = "../support/mod.rs"]
mod support;

mod broadcast;
mod discovery;
mod election;
mod handover;
mod hostile;
mod membership;
mod played;
mod reads;
mod synchronization;

/// Every planted bug is caught by the story named here; and without the plant the story is clean, or its own test would fail.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_caught_by_its_story() {
    let stories: &[(&str, &str, fn())] = &[
        ("F14", "I20", handover::z03_f14_a_leader_whose_disk_hangs_hands_over_to_one_whose_disk_does_not),
        ("G12", "I20", election::z03_who_decided_for_one_that_votes_for_another_looks_again),
        ("H01", "Z9", synchronization::z06_z7_z9_h01_h02_history_then_epoch_then_the_ack),
        ("H02", "Z7", synchronization::z06_z7_z9_h01_h02_history_then_epoch_then_the_ack),
        ("H03", "Z1", discovery::z05_h03_an_epoch_is_promised_durably_or_not_at_all),
        ("H04", "Z5", broadcast::z07_h04_what_was_only_logged_is_not_committed_by_an_election),
        ("H05", "Z3", broadcast::z07_h05_what_is_committed_waits_for_up_to_date_and_for_its_proposal),
        ("H08", "Z9", synchronization::z06_h08_a_new_leader_before_the_whole_history_ends_the_link),
        ("H09", "Z5", synchronization::z06_an_interrupted_snap_is_never_built_upon),
        ("H12", "I20", election::z03_the_current_epoch_beats_a_longer_log),
        ("H11", "I13", synchronization::z06_h11_a_joiner_with_another_end_is_truncated),
        ("H13", "Z3", broadcast::z07_q06_a_gap_in_the_log_is_refused),
        ("H15", "Z2", broadcast::z07_h15_out_of_order_is_in_order_or_nothing),
        ("H17", "Z1", discovery::z05_h17_only_what_was_promised_to_this_leader_counts_and_by_a_quorum),
        ("H20", "Z1", discovery::z05_h20_an_older_epoch_is_refused_for_ever),
        ("H21", "I18", reads::z09_h21_a_read_is_confirmed_by_a_round_begun_after_it),
        ("B28", "X1", broadcast::q07_a_refusal_of_what_was_sent_on_is_certain_even_if_the_network_repeats),
    ];
    for (plant, checker, story) in stories {
        quorate_consensus::hunt_plant(plant, checker, [()], |()| story());
    }
}
