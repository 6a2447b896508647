#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use std::cell::Cell;
    pub async fn add(_one: u8, #[state] _sum: &Cell<u8>) {}
    pub async fn list(#[state] _sum: &Cell<u8>) {}
}

fn main() {}
