//! Sends requests, checks the replies, and prints what it counted as a line of JSON:
//! `load ADDRESS WORK [--seconds S] [--warm-up S] [--requests N]`
//! `[--wire framed|tls|http|redis|FRAMING/FORMAT] [--message letters|typed|json|postcard]`
//! `[--latency yes]`.

use std::{env, error::Error};

use tcs_benches::{
    load::{Wire, run, timed},
    message::Typed,
    options::Options,
    servers::combinations,
};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(env::args().skip(1))?;
    let mut wire = Wire::Framed;
    let mut message = None;
    let mut is_timed = false;
    for (option, value) in &options.others {
        match (&**option, &**value) {
            ("--wire", "framed") => wire = Wire::Framed,
            ("--wire", "tls") => wire = Wire::Tls,
            ("--wire", "http") => wire = Wire::Http,
            ("--wire", "redis") => wire = Wire::Redis,
            ("--message", "letters") => message = None,
            ("--latency", "yes") => is_timed = true,
            ("--wire", name) if let Some(combination) = combinations::named(name) => {
                wire = Wire::Between(combination.head, combination.tail);
            }
            ("--message", form) => message = Some(Typed::sample_as(form).ok_or("no such form")?),
            _ => return Err(format!("there is no {option} {value}").into()),
        }
    }
    let Options {
        address,
        work,
        bounds,
        ..
    } = options;
    if is_timed {
        let (outcome, latencies) = timed(address, wire, work, message.as_deref(), bounds)?;
        options.print_timed(outcome, &latencies);
        return Ok(());
    }
    let outcome = run(address, wire, work, message.as_deref(), bounds)?;
    options.print(outcome);
    Ok(())
}
