use tcs::{format::Protobuf, server_protocol};

#[derive(serde::Deserialize)]
struct Order;

#[server_protocol(format = Protobuf)]
fn place(_: Order) -> u32 {
    1
}

fn main() {}
