use tcs::{format::Json, server_protocol};

#[derive(Clone, PartialEq, prost::Message)]
struct Order {}

#[server_protocol(format = Json)]
fn place(_: Order) -> u32 {
    1
}

fn main() {}
