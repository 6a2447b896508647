use tcs::server_protocol;

#[derive(serde::Serialize)]
struct Receipt(u32);

#[server_protocol]
fn place(_: &str) -> Receipt {
    Receipt(1)
}

fn main() {}
