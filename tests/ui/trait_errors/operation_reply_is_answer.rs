#[tcs::server_protocol(format = tcs::Json)]
mod bank {
    pub fn add(one: u8) -> tcs::Answer<u8> { tcs::Answer::Last(one) }
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
