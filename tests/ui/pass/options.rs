//! The options of a server.

use tcs::{format::Plain, framing::Lines, server_protocol};

mod elsewhere {
    pub use tcs as renamed;
}

#[server_protocol(framing = Lines, format = Plain,)]
fn lines2(line: &str) -> &str {
    line
}

#[server_protocol(framing = tcs::framing::Raw)]
fn raw(text: &[u8]) -> &[u8] {
    text
}

#[server_protocol(crate = elsewhere::renamed, greeting = "hello")]
fn renamed(text: &str, #[state] more: &u32, #[session] count: &mut u32, _: &tcs::Peer) -> u32 {
    *count += more;
    text.len() as u32
}

#[server_protocol(half_close = ends)]
async fn ended(text: &str) -> &str {
    text
}

#[server_protocol(blocking)]
fn blocking(text: &str, #[state] more: &str, #[session] count: &mut u32, peer: &tcs::Peer) -> String {
    *count += 1;
    format!("{text} {more} {peer}")
}

#[server_protocol(greeting = "constant")]
fn constant(_: ()) {}

#[server_protocol(greeting = &format!("{name} {peer}: visit {}", { *visits += 1; *visits }))]
fn greeted(_: (), #[state] name: &str, #[session] visits: &mut u32) -> usize {
    name.len() + *visits as usize
}

#[server_protocol(greeting = format_args!("{} {}", list.len(), peer))]
fn listed(_: (), #[state] list: &[u8]) -> usize {
    list.len()
}

#[server_protocol(greeting = format!(" {peer} ").trim())]
fn trimmed(_: ()) {}

fn main() {
    let _ = (Lines2, Raw, Renamed::new(1), Blocking::new(String::new()), Constant);
    let _ = (Greeted::new(String::new()), Listed::new(Vec::new()), Trimmed);
}
