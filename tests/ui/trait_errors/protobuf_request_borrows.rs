use tcs::{format::Protobuf, server_protocol};

#[server_protocol(format = Protobuf)]
fn place(name: &str) -> u32 {
    name.len() as u32
}

fn main() {}
