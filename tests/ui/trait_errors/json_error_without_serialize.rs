use tcs::{format::Json, server_protocol};

#[derive(Debug)]
struct Refused;

#[server_protocol(format = Json)]
fn place(_: u32) -> Result<u32, Refused> {
    Err(Refused)
}

fn main() {}
