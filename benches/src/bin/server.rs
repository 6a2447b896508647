//! Serves one of the systems: `server NAME [PORT] [THREADS]`. Prints the address.
//!
//! `server combinations` prints the framings with their formats as JSON and ends.

use std::{env, io};

use tcs_benches::servers::combinations::COMBINATIONS;

mod operations;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "tcs".to_owned());
    if name == "combinations" {
        let lines = COMBINATIONS.iter().map(|combination| {
            let (name, goes_on) = (combination.name, combination.goes_on);
            format!("{{\"name\": \"{name}\", \"goes on\": {goes_on}}}")
        });
        println!("[{}]", lines.collect::<Vec<_>>().join(", "));
        return Ok(());
    }
    let mut number = |default| {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse::<u16>())
            .map_err(io::Error::other)
    };
    let (port, threads) = (number(0)?, number(1)?);
    operations::run(
        &name,
        port,
        threads.into(),
        Box::new(|address| println!("{address}")),
    )
}
