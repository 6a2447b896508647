#[tcs::server_protocol(format = tcs::format::Json)]
mod counter {
    pub fn add(number: u32, total: &mut u32) -> u32 {
        *total += number;
        *total
    }
}

fn main() {
    tcs::ConcurrentServer::new(counter::Protocol);
}
