#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add<T: serde::Serialize>(one: T) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
