//! Calls a peer with its own client, and prints what it counted as a line of JSON:
//! `peer-client tarpc|tonic ADDRESS WORK [--seconds S] [--warm-up S] [--requests N]`
//! `[--message typed]` (tarpc).

use std::{env, error::Error};

use tcs_benches::{options::Options, own::run};
use tcs_peers::{rpc, tonic};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let client = arguments.next().unwrap_or_default();
    let options = Options::read(arguments)?;
    let outcome = match &*client {
        "tarpc" => run::<rpc::Client>(&options)?,
        "tonic" => run::<tonic::Client>(&options)?,
        other => return Err(format!("no client is called {other}").into()),
    };
    options.print(outcome);
    Ok(())
}
