use serde::Deserialize;
use tcs::server_protocol;

#[derive(Deserialize)]
struct Order(u64);

#[server_protocol(format = tcs::format::Json)]
fn order(request: Order) -> u64 {
    request.0
}

fn main() {}
