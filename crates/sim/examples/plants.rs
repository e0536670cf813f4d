//! Hunts planted bugs from the command line: `plants [SEEDS_MAX] [ID…]`.

use quorate_sim::plants::run_plants;

fn main() {
    let mut args = std::env::args().skip(1);
    let seeds_max = args.next().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let ids: Vec<String> = args.collect();
    let hunts = run_plants(&ids, seeds_max, &mut |hunt| println!("{hunt}\n    {}", hunt.what));
    let found = hunts.iter().filter(|hunt| hunt.succeeded()).count();
    println!("{found} of {} found", hunts.len());
}
