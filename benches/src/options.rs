//! The arguments that the generator and the clients have in common, and what they print.

use std::{error::Error, net::SocketAddr, time::Duration};

use crate::load::{Bounds, Latencies, Outcome, Work};

/// `ADDRESS WORK [--seconds S] [--warm-up S] [--requests N]`, and options of a program's own.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server is.
    pub address: SocketAddr,
    /// The shape of the work, as it was written.
    pub name: String,
    /// The work.
    pub work: Work,
    /// What ends it.
    pub bounds: Bounds,
    /// Options that are the program's own, with their values.
    pub others: Vec<(String, String)>,
}

impl Options {
    /// Reads the arguments; every option has a value.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut next = || arguments.next().ok_or("an argument is missing");
        let address = next()?.parse()?;
        let name = next()?;
        let mut options = Self {
            address,
            work: Work::parse(&name)?,
            name,
            bounds: Bounds {
                warm_up: Duration::ZERO,
                time: Duration::from_secs(1),
                requests: u64::MAX,
            },
            others: Vec::new(),
        };
        while let Ok(option) = next() {
            let value = next()?;
            let bounds = &mut options.bounds;
            match &*option {
                "--seconds" => bounds.time = Duration::try_from_secs_f64(value.parse()?)?,
                "--warm-up" => bounds.warm_up = Duration::try_from_secs_f64(value.parse()?)?,
                "--requests" => bounds.requests = value.parse()?,
                _ => options.others.push((option, value)),
            }
        }
        Ok(options)
    }

    /// Prints a line of JSON.
    pub fn print(&self, outcome: Outcome) {
        println!("{{{}}}", self.shown(outcome));
    }

    /// Prints a line of JSON that has latencies in microseconds as well.
    pub fn print_timed(&self, outcome: Outcome, latencies: &Latencies) {
        let micros = |latency: Duration| latency.as_secs_f64() * 1e6;
        println!(
            "{{{}, \"p50\": {:.3}, \"p99\": {:.3}, \"p999\": {:.3}, \"longest\": {:.3}}}",
            self.shown(outcome),
            micros(latencies.percentile(50, 100)),
            micros(latencies.percentile(99, 100)),
            micros(latencies.percentile(999, 1_000)),
            micros(latencies.longest()),
        );
    }

    fn shown(&self, outcome: Outcome) -> String {
        let Outcome { requests, .. } = outcome;
        let seconds = outcome.time.as_secs_f64();
        let cpu = outcome.own.running.as_secs_f64() / seconds;
        let waited = outcome.own.waiting.as_secs_f64() / seconds;
        let name = &self.name;
        format!(
            "\"work\": \"{name}\", \"requests\": {requests}, \"seconds\": {seconds:.6}, \
             \"cpu\": {cpu:.3}, \"waited\": {waited:.3}"
        )
    }
}
