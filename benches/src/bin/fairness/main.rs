//! Measures the requests of one connection beside two that flood the server, and prints a line of JSON:
//! `fairness ADDRESS [--seconds S] [--requests N] [--connections N] [--warm-up S]`. Times are in
//! microseconds.
//!
//! It is compiled apart from the generator: more code in that crate changes what is inlined in the
//! yardstick, and costs `L1b` 27 instructions per request.

use std::{env, error::Error, time::Duration};

mod exchange;
mod flooder;
mod measure;

use measure::{Fairness, Figure, Limits, fairness};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("an argument is missing");
    let address = next()?.parse()?;
    let mut limits = Limits {
        time: Duration::from_secs(5),
        requests: 2_000,
        connections: 20,
        warm_up: Duration::from_millis(300),
    };
    while let Ok(option) = next() {
        let value = next()?;
        match &*option {
            "--seconds" => limits.time = Duration::try_from_secs_f64(value.parse()?)?,
            "--requests" => limits.requests = value.parse()?,
            "--connections" => limits.connections = value.parse()?,
            "--warm-up" => limits.warm_up = Duration::try_from_secs_f64(value.parse()?)?,
            _ => return Err(format!("there is no {option}").into()),
        }
    }
    let Fairness {
        alone,
        beside,
        connecting,
        cpu,
    } = fairness(address, limits)?;
    println!(
        "{{\"alone\": {}, \"beside\": {}, \"connecting\": {}, \"cpu\": {cpu:.3}}}",
        shown(&alone),
        shown(&beside),
        shown(&connecting),
    );
    Ok(())
}

fn shown(figure: &Figure) -> String {
    let Figure {
        latencies,
        answered,
        is_cut,
    } = figure;
    let micros = |latency: Duration| latency.as_secs_f64() * 1e6;
    format!(
        "{{\"answered\": {answered}, \"cut\": {is_cut}, \"p50\": {:.3}, \"p99\": {:.3}, \
         \"longest\": {:.3}}}",
        micros(latencies.percentile(50, 100)),
        micros(latencies.percentile(99, 100)),
        micros(latencies.longest()),
    )
}
