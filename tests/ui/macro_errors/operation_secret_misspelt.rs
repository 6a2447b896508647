#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn log_in(_name: &str, #[secert] _password: &str) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
