//! Scripts of steps: recorded, made shorter, kept as files, replayed.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::drive::Simulation;
use super::step::{Generator, Step};
use crate::disk::sim::Rng;

/// Scripts that once found a fault: `NAME.json`, one step a line.
pub fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/simulation/scripts")
}

pub fn read(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).expect("a script");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a step"))
        .collect()
}

pub fn write(path: &Path, steps: &[Step]) {
    let lines = steps
        .iter()
        .map(|step| serde_json::to_string(step).expect("a step") + "\n");
    std::fs::write(path, lines.collect::<String>()).expect("written");
}

/// Runs to the end, or panics where the drive did what it must not.
pub fn replay(steps: &[Step]) {
    let mut simulation = Simulation::new();
    steps.iter().for_each(|step| simulation.apply(step));
}

/// Random steps. Gives the script if it fails.
pub fn random(seed: u64, lives: u64) -> Option<Vec<Step>> {
    let script = Mutex::new(Vec::new());
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut generator = Generator { rng: Rng(seed) };
        let mut simulation = Simulation::new();
        let run = |simulation: &mut Simulation, step: Step| {
            script.lock().push(step.clone());
            simulation.apply(&step);
        };
        for _ in 0..lives {
            run(&mut simulation, generator.open());
            if let Some(trouble) = generator.trouble() {
                run(&mut simulation, trouble);
            }
            for _ in 0..generator.rng.below(150) {
                let pause = Step::Pass(generator.rng.below(700));
                run(&mut simulation, pause);
                let step = generator.step(&|pg| simulation.model.generation(pg));
                run(&mut simulation, step);
                if simulation.has_failed() {
                    break;
                }
            }
            run(&mut simulation, generator.end());
        }
        run(&mut simulation, generator.open());
    }));
    outcome.is_err().then(|| script.into_inner())
}

/// Where it panics, if it does.
fn failure(steps: &[Step]) -> Option<String> {
    static PLACE: Mutex<String> = Mutex::new(String::new());
    std::panic::set_hook(Box::new(|panic| {
        *PLACE.lock() = panic
            .location()
            .map(|place| place.to_string())
            .unwrap_or_default();
    }));
    std::panic::catch_unwind(AssertUnwindSafe(|| replay(steps)))
        .is_err()
        .then(|| PLACE.lock().clone())
}

/// Leaves out what the failure does not need, for as long as `time`.
pub fn shorten(mut steps: Vec<Step>, time: Duration) -> Vec<Step> {
    let end = Instant::now() + time;
    let hook = std::panic::take_hook();
    let place = failure(&steps);
    let mut size = steps.len() / 2;
    while size > 0 && Instant::now() < end {
        let mut from = 0;
        while from < steps.len() && Instant::now() < end {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + size).min(steps.len()));
            if place.is_some() && failure(&fewer) == place {
                steps = fewer;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
    std::panic::set_hook(hook);
    steps
}
