//! Serves one of the systems: `server NAME [PORT] [THREADS]`. Prints the address.

use std::{env, io};

use tcs_benches::servers;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "tcs".to_owned());
    let mut number = |default| {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse::<u16>())
            .map_err(io::Error::other)
    };
    let (port, threads) = (number(0)?, number(1)?);
    servers::run(&name, port, threads.into(), |address| println!("{address}"))
}
