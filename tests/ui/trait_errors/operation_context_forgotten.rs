use tcs::protocol::Closed;

#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use super::*;
    pub fn add(_one: u8, _closed: Closed<'_>) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
