#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add<T: Default>(_one: u8) {
        T::default();
    }
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
