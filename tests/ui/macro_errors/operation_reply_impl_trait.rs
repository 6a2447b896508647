#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(one: u8) -> impl Into<u8> {
        one
    }
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
