use tcs::{format::Protobuf, server_protocol};

#[server_protocol(format = Protobuf)]
fn place(count: u32) -> Result<u32, String> {
    Ok(count)
}

fn main() {}
