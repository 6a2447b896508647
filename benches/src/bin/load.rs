//! Sends requests, checks the replies, and prints what it counted as a line of JSON:
//! `load ADDRESS WORK [--seconds S] [--warm-up S] [--requests N]`
//! `[--wire framed|http|redis] [--message letters|typed|json|postcard]`.

use std::{env, error::Error};

use tcs_benches::{
    load::{Wire, run},
    message::Typed,
    options::Options,
};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(env::args().skip(1))?;
    let mut wire = Wire::Framed;
    let mut message = None;
    for (option, value) in &options.others {
        match (&**option, &**value) {
            ("--wire", "framed") => wire = Wire::Framed,
            ("--wire", "http") => wire = Wire::Http,
            ("--wire", "redis") => wire = Wire::Redis,
            ("--message", "letters") => message = None,
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
    let outcome = run(address, wire, work, message.as_deref(), bounds)?;
    options.print(outcome);
    Ok(())
}
