#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[blocking]
    pub async fn add(_one: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
