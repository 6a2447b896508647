#[tcs::server_protocol(format = tcs::format::Json)]
mod tasks {
    pub fn deadline(_task: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(tasks::Protocol);
}
