//! Random operations against a simulated drive that crashes, tears, rots, fills up, fails and vanishes, compared with a model
//! of what was acknowledged.
//!
//! By itself it plays the same [`SEEDS`] each time. `ANVIL_SIM_SECONDS=n` plays new ones for that long, `ANVIL_SIM_SEED=n` one.
//! A failure leaves a script of its steps in the folder for temporary files; `ANVIL_SIM_SCRIPT=path` replays one. Those in
//! `scripts/` are always replayed: they hold the steps themselves, so they go on testing what they tested when the random
//! steps change.

mod check;
mod drive;
mod lost_file;
mod model;
mod script;
mod step;

use std::path::Path;
use std::time::{Duration, Instant};

const LIVES: u64 = 30;

/// Played by every run of the tests. That they are the same ones keeps a change from failing on what it has not changed.
const SEEDS: std::ops::Range<u64> = 0..100;

fn run(seed: u64) {
    let Some(steps) = script::random(seed, LIVES) else {
        return;
    };
    let steps = script::shorten(steps, Duration::from_secs(20));
    let path = std::env::temp_dir().join(format!("anvil-simulation-{seed}.json"));
    script::write(&path, &steps);
    let path = path.display();
    eprintln!(
        "seed {seed} failed; {} steps that fail are in {path}",
        steps.len()
    );
    script::replay(&steps);
    panic!("seed {seed} failed and its script did not");
}

#[test]
fn simulated_drives_keep_what_they_acknowledged() {
    if let Some(path) = std::env::var_os("ANVIL_SIM_SCRIPT") {
        return script::replay(&script::read(Path::new(&path)));
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if let Some(seed) = number("ANVIL_SIM_SEED") {
        return run(seed);
    }
    let Some(seconds) = number("ANVIL_SIM_SECONDS") else {
        return SEEDS.for_each(run);
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let first = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
        >> 10;
    let mut seed = first;
    while Instant::now() < end {
        run(seed);
        seed += 1;
    }
    println!("seeds {first}..{seed}, {LIVES} lives each");
}

#[test]
fn faults_once_found_stay_mended() {
    let mut replayed = 0;
    for entry in std::fs::read_dir(script::kept()).expect("scripts") {
        let path = entry.expect("a script").path();
        eprintln!("{}", path.display());
        script::replay(&script::read(&path));
        replayed += 1;
    }
    assert!(replayed > 0);
}
