//! Calls a server with a client of its own kind, and prints what it counted as a line of JSON:
//! `client hand|tcs|lasting|tcs-pipeline ADDRESS WORK [--seconds S] [--warm-up S] [--requests N] [--message typed]`.

use std::{env, error::Error, sync::atomic::Ordering};

use tcs_benches::{
    options::Options,
    own::{Hand, LASTS, Library, pipelined, run},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let client = arguments.next().unwrap_or_default();
    let options = Options::read(arguments)?;
    let outcome = match &*client {
        "hand" => run::<Hand>(&options)?,
        "tcs" | "lasting" => {
            LASTS.store(client == "lasting", Ordering::Relaxed);
            run::<Library>(&options)?
        }
        "tcs-pipeline" => pipelined::run(&options)?,
        other => return Err(format!("no client is called {other}").into()),
    };
    options.print(outcome);
    Ok(())
}
