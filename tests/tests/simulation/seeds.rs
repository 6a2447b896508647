//! Many seeds, and one of them again.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::run::{Counts, Outcome, simulate};

/// The seeds that one process runs.
const CHUNK: u64 = 25;
const NAME: &str = "seeds::seeds_keep_the_promises";
const RANGE: &str = "TCS_SEED_RANGE";

#[test]
fn seeds_keep_the_promises() {
    if let Ok(seed) = env::var("TCS_SEED") {
        return replay(number(&seed));
    }
    if let Ok(range) = env::var(RANGE) {
        let (from, to) = range.split_once("..").expect("a range");
        return run(number(from)..number(to));
    }
    let count = env::var("TCS_SEEDS").map_or(100, |count| number(&count));
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let from = next.fetch_add(CHUNK, Relaxed);
            if from >= count {
                return;
            }
            let range = format!("{from}..{}", count.min(from + CHUNK));
            let output = in_process(RANGE, &range);
            if !output.status.success() {
                println!("{}", said(&output));
                failed.lock().expect("no panic").push(range);
            }
        }
    };
    thread::scope(|threads| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            threads.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(
        failed.is_empty(),
        "of {count} seeds, some of {failed:?} failed"
    );
}

#[test]
fn seed_is_replayed_exactly() {
    let digests = |variable: &str, value: &str| -> Vec<String> {
        let said = said(&in_process(variable, value));
        let lines = said.lines().filter(|line| line.starts_with("seed "));
        lines.map(str::to_owned).collect()
    };
    let together = digests(RANGE, "0..6");
    assert_eq!(together.len(), 6);
    for (seed, digest) in together.iter().enumerate() {
        let alone = digests("TCS_SEED", &seed.to_string());
        assert_eq!(alone, std::slice::from_ref(digest));
    }
}

/// Runs one seed, and prints its events.
fn replay(seed: u64) {
    let outcome = simulate(seed);
    println!("{}", outcome.lines.join("\n"));
    println!("{:?}", outcome.counts);
    println!("{}", digest(seed, &outcome));
    assert!(outcome.faults.is_empty(), "{}", outcome.faults.join("\n"));
}

/// Runs some seeds, and prints how to replay those that fail.
fn run(seeds: Range<u64>) {
    let is_many = seeds.end - seeds.start >= CHUNK;
    let (mut failed, mut total) = (Vec::new(), Counts::default());
    for seed in seeds {
        let outcome = simulate(seed);
        println!("{}", digest(seed, &outcome));
        total.add(&outcome.counts);
        if !outcome.faults.is_empty() {
            println!(
                "TCS_SEED={seed} cargo test -p tcs-tests --test simulation {NAME} -- --nocapture"
            );
            println!("    {}", outcome.faults.join("\n    "));
            failed.push(seed);
        }
    }
    println!("{total:?}");
    assert!(failed.is_empty(), "seeds {failed:?} failed");
    assert!(!is_many || total.is_eventful(), "{total:?}");
}

/// Runs this test in a process of its own. The tasks of all simulations in a process have a common count, and a simulation
/// depends on it.
fn in_process(variable: &str, value: &str) -> Output {
    Command::new(env::current_exe().expect("it runs"))
        .args(["--exact", NAME, "--nocapture"])
        .env_remove("TCS_SEED")
        .env(variable, value)
        .output()
        .expect("it starts")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|said| String::from_utf8_lossy(said))
        .concat()
}

/// Returns what is the same for the same events only.
fn digest(seed: u64, outcome: &Outcome) -> String {
    let mut hasher = DefaultHasher::new();
    outcome.lines.hash(&mut hasher);
    format!(
        "seed {seed}: {} events, {:016x}",
        outcome.lines.len(),
        hasher.finish()
    )
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}
