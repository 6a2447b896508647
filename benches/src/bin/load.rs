//! Sends requests, checks the replies, and prints what it counted as a line of JSON:
//! `load ADDRESS WORK [--seconds S] [--warm-up S] [--requests N] [--wire framed|http|redis] [--typed]`.

use std::{env, error::Error, time::Duration};

use tcs_benches::{
    load::{Bounds, Wire, Work, run},
    message::Typed,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("an argument is missing");
    let address = next()?.parse()?;
    let name = next()?;
    let mut wire = Wire::Framed;
    let mut message = None;
    let mut bounds = Bounds {
        warm_up: Duration::ZERO,
        time: Duration::from_secs(1),
        requests: u64::MAX,
    };
    while let Ok(option) = next() {
        match &*option {
            "--seconds" => bounds.time = Duration::from_secs_f64(next()?.parse()?),
            "--warm-up" => bounds.warm_up = Duration::from_secs_f64(next()?.parse()?),
            "--requests" => bounds.requests = next()?.parse()?,
            "--typed" => {
                let mut bytes = Vec::new();
                Typed::sample().write(|part| bytes.extend_from_slice(part));
                message = Some(bytes);
            }
            "--wire" => {
                wire = match &*next()? {
                    "framed" => Wire::Framed,
                    "http" => Wire::Http,
                    "redis" => Wire::Redis,
                    other => return Err(format!("no wire is called {other}").into()),
                }
            }
            other => return Err(format!("no option is called {other}").into()),
        }
    }
    let work = Work::named(&name)?;
    let outcome = run(address, wire, work, message.as_deref(), bounds)?;
    let seconds = outcome.time.as_secs_f64();
    let cpu = outcome.cpu.as_secs_f64() / seconds;
    let requests = outcome.requests;
    println!(
        "{{\"work\": \"{name}\", \"requests\": {requests}, \"seconds\": {seconds:.6}, \"cpu\": {cpu:.3}}}"
    );
    Ok(())
}
