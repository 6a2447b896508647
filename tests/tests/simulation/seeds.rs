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

use crate::run::{Counts, SimResult, simulate};

/// The seeds that one process runs.
const CHUNK: u64 = 25;
const NAME: &str = "seeds::seeds_keep_the_promises";
const RANGE: &str = "TCS_SEED_RANGE";
/// Before the number of calls that were executed in part. They are too rare for one process.
const RARE: &str = "executed in part: ";

#[test]
fn seeds_keep_the_promises() {
    if let Ok(seed) = env::var("TCS_SEED") {
        return replay(number(&seed));
    }
    if let Ok(range) = env::var(RANGE) {
        let (from, to) = range.split_once("..").expect("a range");
        return run(number(from)..number(to));
    }
    let count = seed_count();
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let rare = AtomicU64::new(0);
    let work = || {
        loop {
            let from = next.fetch_add(CHUNK, Relaxed);
            if from >= count {
                return;
            }
            let range = format!("{from}..{}", count.min(from + CHUNK));
            let output = in_process(RANGE, &range);
            let digests = digests(&output);
            let told = said(&output);
            let counts = told.lines().filter_map(|line| line.strip_prefix(RARE));
            rare.fetch_add(counts.map(number).sum(), Relaxed);
            // A process that runs nothing succeeds.
            if !output.status.success() || digests.len() as u64 != count.min(from + CHUNK) - from {
                println!("{told}");
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
    assert!(
        rare.into_inner() > 0 || count < 100,
        "no function was cut short"
    );
}

#[test]
fn seed_is_replayed_exactly() {
    let together = digests(&in_process(RANGE, "0..6"));
    assert_eq!(together.len(), 6);
    for (seed, digest) in together.iter().enumerate() {
        let alone = digests(&in_process("TCS_SEED", &seed.to_string()));
        assert_eq!(alone, std::slice::from_ref(digest));
    }
}

/// Returns how many seeds are run.
fn seed_count() -> u64 {
    let count = env::var("TCS_SEEDS").map_or(100, |count| number(&count));
    assert!(count > 0, "`TCS_SEEDS` is 0: nothing would be checked");
    count
}

/// Returns the seeds of a test of which each takes longer: this many of 100, or the one to be replayed.
pub(crate) fn share_of_seeds(of_hundred: u64) -> Range<u64> {
    if let Ok(seed) = env::var("TCS_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    0..(seed_count() * of_hundred).div_ceil(100)
}

/// Returns what replays a seed of such a test, in front of its command.
pub(crate) fn replay_with(seed: u64) -> String {
    format!("TCS_SEED={seed}")
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
    println!("{RARE}{}", total.executed);
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

/// Returns a line for each seed that was run.
fn digests(output: &Output) -> Vec<String> {
    let said = said(output);
    let lines = said.lines().filter(|line| line.starts_with("seed "));
    lines.map(str::to_owned).collect()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|said| String::from_utf8_lossy(said))
        .concat()
}

/// Returns what is the same for the same events only.
fn digest(seed: u64, outcome: &SimResult) -> String {
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
