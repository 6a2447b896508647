use tcs::server_protocol;

struct Receipt;

#[server_protocol]
fn place(_: &str) -> Receipt {
    Receipt
}

fn main() {}
