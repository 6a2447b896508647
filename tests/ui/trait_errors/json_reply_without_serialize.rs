use tcs::{format::Json, server_protocol};

struct Receipt;

#[server_protocol(format = Json)]
fn place(_: u32) -> Receipt {
    Receipt
}

fn main() {}
