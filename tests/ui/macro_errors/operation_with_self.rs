#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(&self, amount: u8) -> u8 {
        self.total + amount
    }
    pub fn list() {}
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(bank::Protocol).port(1234).run()
}
